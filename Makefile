# The verbs of this project, the same here and in CI. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_ARGS ?=
DATA ?=
MODEL_ARGS ?=
TEST_ARGS ?=
TORTURE_ARGS ?=
BENCH_ARGS ?=
BENCH_SOUND ?=

.DEFAULT_GOAL := help
.PHONY: help run test torture bench lint format model wheel clean portaudio

help:  ## list the verbs
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

run: $(VENV)/.base portaudio  ## set up, then listen to the microphone (or, without one, to the demo scene)
	@$(BIN)/streamer run --or-demo $(RUN_ARGS)

test: $(VENV)/.test portaudio  ## set up, then run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile $(TEST_ARGS)

torture: $(VENV)/.test  ## kills, stopped subscribers, bad cables and disks, nonsense: half an hour; TORTURE_ARGS="kills --kills 20" for less
	$(BIN)/python -m tests.torture $(TORTURE_ARGS)

bench: $(VENV)/.bench .bench/peers/problems.json portaudio  ## what everything costs, beside others: a quarter of an hour; BENCH_ARGS="--quick paced" for less
	$(BIN)/python -m benchmarks $(if $(BENCH_SOUND),--sound $(BENCH_SOUND)) $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.report

lint: $(VENV)/.lint  ## style, types, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run examples/*.sh; else echo "shellcheck is not installed: shell scripts not checked"; fi

format: $(VENV)/.lint  ## put the code into its style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

model:  ## the reference run, from recordings to models/default: make model DATA=PACK
	@test -n "$(DATA)" || { echo "name the recordings: make model DATA=FOLDER"; exit 2; }
	@$(MAKE) --no-print-directory $(VENV)/.train
	$(BIN)/python -m training.reference --data $(DATA) $(MODEL_ARGS)

wheel: $(VENV)/.base  ## build dist/*.whl
	$(BIN)/pip install --quiet build
	$(BIN)/python -m build --wheel

clean:  ## remove what the verbs above have made
	rm -rf $(VENV) streamer/libkernel.so .bench build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "streamer needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "no virtual environment could be made; on Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.base: pyproject.toml hatch_build.py $(wildcard streamer/*/*.c) $(VENV)/.made
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.base
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/.bench: pyproject.toml $(VENV)/.base
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

# The peers' environment; their pins clash with ours.
.bench/peers/problems.json: benchmarks/environments.py $(VENV)/.base
	$(BIN)/python -m benchmarks.environments

$(VENV)/.lint: pyproject.toml $(VENV)/.base
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[lint]'
	@touch $@

$(VENV)/.train: pyproject.toml $(VENV)/.base
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[train]'
	@touch $@

# Microphones need the PortAudio library, which pip cannot install on Linux. Without the right to install it, say
# how and go on: files, pipes and the demo scene work without it.
portaudio: $(VENV)/.base
	@$(BIN)/python -c 'import sys, ctypes.util; sys.exit(not ctypes.util.find_library("portaudio"))' && exit 0; \
	echo "The PortAudio library is missing; microphones need it."; \
	if ! command -v apt-get >/dev/null; then echo "Install PortAudio with your system's package manager."; \
	elif [ "$$(id -u)" = 0 ]; then apt-get install -y libportaudio2 || { apt-get update && apt-get install -y libportaudio2; }; \
	elif sudo -n true 2>/dev/null; then sudo -n apt-get install -y libportaudio2; \
	else echo "Install it with: sudo apt-get install libportaudio2"; fi \
	|| echo "It could not be installed; try: sudo apt-get update && sudo apt-get install libportaudio2"
