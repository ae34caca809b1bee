"""Settings from file, environment and flags: the right ones win, and every fault is told at once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.config import (
    SECTIONS,
    Config,
    LabelConfig,
    StreamConfig,
    load_config,
    tuned_rules,
)
from streamer.decoding.rules import LabelRule
from streamer.errors import EXIT_CONFIG, ConfigError


@pytest.fixture(autouse=True)
def nobodys_own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests must not show."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobody"))
    monkeypatch.setattr("streamer.config.default_config_path", lambda: None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "conf" / "streamer.toml"


def load(file: Path, text: str, environment: dict[str, str] | None = None, flags: Any = None) -> Config:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, "utf-8")
    return load_config(file, environment=environment or {}, flags=flags)


def faults(file: Path, text: str, environment: dict[str, str] | None = None, flags: Any = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file, text, environment, flags)
    assert caught.value.status == EXIT_CONFIG
    assert all("\n" not in fault for fault in caught.value.faults)
    return caught.value.faults


def test_nothing_set_gives_the_defaults() -> None:
    config = load_config(environment={})
    assert config.streams == [StreamConfig()]
    assert config.labels == {}
    assert all(getattr(config, name) == kind() for name, kind in SECTIONS.items())


def test_an_empty_file_gives_the_defaults(file: Path) -> None:
    assert load(file, "") == load_config(environment={})


# --- Faults


def test_five_mistakes_are_all_told(file: Path) -> None:
    found = faults(
        file,
        """
        [engine]
        hop_ms = 5
        [log]
        level = "loud"
        [model]
        bundel = "mine"
        [publisher]
        heartbeat_s = 1
        [[stream]]
        source = "file"
        """,
    )
    expected = [
        ("engine.hop_ms: 5", "a whole number from 10 to 2000"),
        ("log.level: 'loud'", "debug, info, warning, error"),
        ("model.bundel", "unknown setting, did you mean bundle?"),
        ("publisher", "unknown section, did you mean publish?"),
        ("stream.path", 'source = "file" and needs a path'),
    ]
    assert len(found) == 5, found
    for (place, words), fault in zip(expected, found, strict=True):
        assert fault.startswith(place)
        assert words in fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[engine]\nhop_ms = 2001", "engine.hop_ms: 2001, legal values: a whole number from 10 to 2000"),
        ("[engine]\nhop_ms = 80.0", "engine.hop_ms: 80.0, legal values: a whole number from 10 to 2000"),
        ("[engine]\nhop_ms = true", "engine.hop_ms: True, legal values: a whole number from 10 to 2000"),
        ("[engine]\nhop_ms = '80'", "engine.hop_ms: '80', legal values: a whole number from 10 to 2000"),
        ("[engine]\nring_s = nan", "engine.ring_s: nan, legal values: a number from 0.5 to 600"),
        ("[engine]\nring_s = inf", "engine.ring_s: inf, legal values: a number from 0.5 to 600"),
        ("[engine]\nstall_s = 0", "engine.stall_s: 0, legal values: a number above 0 to 3600"),
        (
            "[engine]\nring_s = 1979-05-27",
            "engine.ring_s: datetime.date(1979, 5, 27), legal values: a number from",
        ),
        (
            "[publish]\nendpoints = 'tcp://*:1'",
            "publish.endpoints: 'tcp://*:1', legal values: a list, each a text",
        ),
        ("[publish]\nendpoints = [1]", "publish.endpoints: [1], legal values: a list, each a text"),
        (
            "[model]\nvariant = 'tf'",
            "model.variant: 'tf', legal values: auto, kernel, onnx, onnx-int8, torch",
        ),
        ("[[stream]]\nloop = 'yes'", "stream.loop: 'yes', legal values: true, false"),
        (
            "[[stream]]\nname = 'a.b'",
            "stream.name: 'a.b', legal values: a text of letters, digits, _ and - (64",
        ),
        ('[[stream]]\nname = "a\\n"', "stream.name: 'a\\n', legal values: a text of letters"),
        (
            "[[stream]]\nrate_hz = 7999",
            "stream.rate_hz: 7999, legal values: a whole number from 8000 to 384000",
        ),
        ("[[stream]]\ndevice = 1.5", "stream.device: 1.5, legal values: "),
        ("[[stream]]\nsource = 'mic'", "stream.source: 'mic', legal values: microphone, file, stdin"),
        (
            "[[stream]]\nname = 'a'\n[[stream]]\npase = 'fast'",
            "stream[1].pase: unknown setting, did you mean pace?",
        ),
        (
            "[labels.yes]\nthreshold = 1.0",
            "labels.yes.threshold: 1.0, legal values: a number above 0 below 1",
        ),
        ("[labels.yes]\ntreshold = 0.5", "labels.yes.treshold: unknown setting, did you mean threshold?"),
        ("[labels]\nyes = 0.5", "labels.yes: expected a table, [labels.yes]"),
        ("labels = 3", "labels: expected tables, [labels.NAME]"),
        ("engine = 3", "engine: expected a table, [engine]"),
        ("[[engine]]\nhop_ms = 80", "engine: expected a table, [engine]"),
        ("stream = 'mic'", "stream: expected one or more tables, [[stream]]"),
        ("stream = []", "stream: expected one or more tables, [[stream]]"),
        ("stream = [1]", "stream: expected one or more tables, [[stream]]"),
        ("[stream]\nname = 'a'", "stream: expected one or more tables, [[stream]]"),
        ("[zebra]\nx = 1", "zebra: unknown section, legal: stream, labels, model"),
        ("hop_ms = 80", "hop_ms: unknown section"),
        (
            "[labels.yes]\nthreshold = 0.3\nend_threshold = 0.4",
            "labels.yes.end_threshold: above the threshold, 0.3",
        ),
        (
            "[[stream]]\nsource = 'file'",
            "stream.path: stream 'default' has source = \"file\" and needs a path",
        ),
        ("[[stream]]\nsource = 'file'\npath = ''", "stream.path: stream 'default' has source"),
        ("[[stream]]\npath = 'a.wav'", "stream.path: stream 'default' has a path, which needs"),
        ("[[stream]]\n[[stream]]", "stream.name: 'default' stands there twice"),
        (
            "[[stream]]\nname='a'\nsource='stdin'\n[[stream]]\nname='b'\nsource='stdin'",
            "stream.source: only one stream",
        ),
    ],
)
def test_one_mistake_is_one_line(file: Path, text: str, fault: str) -> None:
    found = faults(file, text)
    assert len(found) == 1, found
    assert found[0].startswith(fault)


def test_faults_of_several_streams_name_the_stream(file: Path) -> None:
    found = faults(file, "[[stream]]\nname = 'bad name'\n[[stream]]\nname = 'another bad'\nloop = 1")
    assert [fault.partition(":")[0] for fault in found] == [
        "stream[0].name",
        "stream[1].name",
        "stream[1].loop",
    ]


def test_faults_in_company_are_told_beside_others(file: Path) -> None:
    text = "[engine]\nhop_ms = 1\n[[stream]]\nname = 'a'\n[[stream]]\nname = 'a'\nsource = 'file'\n"
    text += "[labels.x]\nthreshold = 0.1\nend_threshold = 0.2"
    assert [fault.partition(":")[0] for fault in faults(file, text)] == [
        "engine.hop_ms",
        "stream.name",
        "stream.path",
        "labels.x.end_threshold",
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"[engine\nhop_ms = 80",
        b"hop_ms",
        b"a = 1\na = 2",
        b"\xff\xfe\x00",
        b"\x00",
        b"[labels]\nl=1\n[labels.l]",
    ],
)
def test_what_is_no_toml(file: Path, content: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(file, environment={})
    assert caught.value.faults[0].startswith(f"{file}: no TOML: ")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(ConfigError) as caught:
            load_config(path, environment={})
        assert caught.value.faults[0].startswith(f"{path}: ")
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        load_config(environment={"STREAMER_CONFIG": str(tmp_path / "none.toml")})


def test_faults_of_all_sources_together(file: Path) -> None:
    found = faults(
        file,
        "[engine]\nhop_ms = 1",
        {"STREAMER_LOG_LEVEL": "loud", "STREAMER_ENGINE_RING_S": "much", "STREAMER_MODEL_BUNDEL": "x"},
        {"publish": {"heartbeat_s": 0}},
    )
    assert [fault.partition(":")[0] for fault in found] == [
        "engine.hop_ms",
        "log.level (environment)",
        "engine.ring_s (environment)",
        "model.bundel (environment)",
        "publish.heartbeat_s (command line)",
    ]


# --- The order of the sources


def test_flags_win_over_the_environment_over_the_file(file: Path) -> None:
    text = (
        "[engine]\nhop_ms = 10\nring_s = 1\nstall_s = 1\n[[stream]]\nname = 'one'\n[[stream]]\nname = 'two'"
    )
    environment = {
        "STREAMER_ENGINE_RING_S": "2",
        "STREAMER_ENGINE_STALL_S": "2.5",
        "STREAMER_STREAM_DEVICE": "USB",
    }
    config = load(file, text, environment, {"engine": {"stall_s": 3.0}, "stream": [{"channels": 2}]})
    assert (config.engine.hop_ms, config.engine.ring_s, config.engine.stall_s) == (10, 2, 3)
    assert config.streams == [StreamConfig(name="one", device="USB", channels=2), StreamConfig(name="two")]


def test_the_environment_speaks_text() -> None:
    config = load_config(
        environment={
            "STREAMER_ENGINE_HOP_MS": "40",
            "STREAMER_PUBLISH_ENDPOINTS": "tcp://127.0.0.1:1, ipc:///x",
            "STREAMER_STREAM_LOOP": "true",
            "STREAMER_STREAM_RATE_HZ": "48000",
            "STREAMER_MODELS": "/somewhere",
            "STREAMER_CONFIG": "",
            "STREAMER_LOG": "x",
            "STREAMERS_ENGINE_HOP_MS": "1",
            "OTHER_ENGINE_HOP_MS": "1",
        }
    )
    assert config.engine.hop_ms == 40
    assert config.publish.endpoints == ["tcp://127.0.0.1:1", "ipc:///x"]
    assert config.streams == [StreamConfig(loop=True, rate_hz=48_000)]


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "", "1e999", "ten", "0x10"])
def test_environment_faults(text: str) -> None:
    with pytest.raises(ConfigError, match=r"engine\.ring_s \(environment\)"):
        load_config(environment={"STREAMER_ENGINE_RING_S": text})


def test_the_file_may_be_named_by_the_environment(file: Path) -> None:
    load(file, "[engine]\nhop_ms = 20")
    assert load_config(environment={"STREAMER_CONFIG": str(file)}).engine.hop_ms == 20


def test_a_daemon_may_have_remote_streams_only(file: Path) -> None:
    ingest = "[ingest]\nendpoints = ['tcp://127.0.0.1:7792']\n"
    assert load(file, f"stream = []\n{ingest}").streams == []
    assert load(file, f"{ingest}[[stream]]\nname = 'a'", flags={"stream": []}).streams == []
    assert load(file, ingest).streams == [StreamConfig()], (
        "the microphone goes on listening unless told not to"
    )
    text = f"stream = []\n{ingest}"
    assert load(file, text, {"STREAMER_STREAM_NAME": "a"}).streams == [StreamConfig(name="a")]


# --- Paths


def test_a_path_is_relative_to_the_file_that_names_it(file: Path) -> None:
    text = "[[stream]]\nsource = 'file'\npath = 'sounds/a.wav'\n"
    text += "[[stream]]\nname = 'b'\nsource = 'file'\npath = '/abs/b.wav'"
    config = load(file, text)
    assert [stream.path for stream in config.streams] == [str(file.parent / "sounds/a.wav"), "/abs/b.wav"]


def test_a_path_on_the_command_line_is_relative_to_where_one_is(file: Path) -> None:
    config = load(file, "", flags={"stream": [{"source": "file", "path": "a.wav"}]})
    assert config.streams[0].path == "a.wav"


# --- Tuning labels

RULES = [
    LabelRule(name="yes", kind="keyword", threshold=0.6, end_threshold=0.3),
    LabelRule(name="dog", kind="sound", threshold=0.5),
]


def test_a_threshold_alone_keeps_the_proportion() -> None:
    yes, dog = tuned_rules(RULES, {"yes": LabelConfig(threshold=0.8), "dog": LabelConfig(threshold=0.4)})
    assert (yes.threshold, dog.threshold) == (0.8, 0.4)
    assert yes.end_level == pytest.approx(0.4)
    assert dog.end_level == pytest.approx(0.24)


def test_both_thresholds_are_taken_as_given_and_the_rest_stays() -> None:
    yes, dog = tuned_rules(
        RULES, {"yes": LabelConfig(threshold=0.8, end_threshold=0.7, min_ms=50, enabled=False)}
    )
    assert yes == LabelRule(
        name="yes", kind="keyword", threshold=0.8, end_threshold=0.7, min_ms=50, enabled=False
    )
    assert dog == RULES[1]


def test_all_labels_that_the_model_has_not_are_told() -> None:
    with pytest.raises(ConfigError) as caught:
        tuned_rules(
            RULES, {"yess": LabelConfig(), "cat": LabelConfig(), "dog": LabelConfig(end_threshold=0.6)}
        )
    assert caught.value.faults == [
        "labels.yess: the model has no such label, did you mean yes?",
        "labels.cat: the model has no such label, legal: yes, dog",
        "labels.dog: end_threshold must not be above threshold",
    ]


@settings(deadline=None)
@given(
    old=st.floats(0.001, 0.999),
    share=st.floats(0.01, 1.0),
    new=st.floats(0.001, 0.999),
)
def test_any_threshold_can_be_tuned_to_any_other(old: float, share: float, new: float) -> None:
    (tuned,) = tuned_rules(
        [LabelRule(name="x", kind="sound", threshold=old, end_threshold=old * share)],
        {"x": LabelConfig(threshold=new)},
    )
    assert tuned.threshold == new
    assert 0 < tuned.end_level <= new
    assert math.isclose(tuned.end_level / new, share, rel_tol=1e-9)


# --- One bundle or several


SEVERAL, ONE = '[model]\nbundles = ["a", "b"]', '[model]\nbundle = "a"'


@pytest.mark.parametrize(
    ("text", "names"),
    [("", ["default"]), (ONE, ["a"]), (SEVERAL, ["a", "b"]), ("[model]\nbundles = []", ["default"])],
)
def test_several_bundles_stand_in_for_the_one(file: Path, text: str, names: list[str]) -> None:
    assert load(file, text).model.names == names


def test_whoever_speaks_last_of_either_names_the_bundles(file: Path) -> None:
    assert load(file, SEVERAL, {"STREAMER_MODEL_BUNDLE": "c"}).model.names == ["c"]
    assert load(file, SEVERAL, flags={"model": {"bundle": "d"}}).model.names == ["d"]
    assert load(file, ONE, {"STREAMER_MODEL_BUNDLES": "c, d"}).model.names == ["c", "d"]
    assert load(file, ONE, flags={"model": {"bundles": ["d", "e"]}}).model.names == ["d", "e"]
    assert load(file, SEVERAL, flags={"model": {"variant": "torch"}}).model.names == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            'bundle = "a"\nbundles = ["b"]',
            "model: bundle and bundles contradict each other: give one of them",
        ),
        ('bundles = ["a", "b", "a"]', "model.bundles: 'a' stands there twice"),
        ('bundles = "a"', "model.bundles: 'a', legal values: a list, each a text"),
    ],
)
def test_bundles_that_cannot_be(file: Path, text: str, fault: str) -> None:
    assert faults(file, f"[model]\n{text}") == [fault]


# --- Any legal configuration comes through

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
PATHS = TEXTS.filter(lambda text: not text.startswith("~"))  # a tilde becomes the home directory
NUMBERS = {"allow_nan": False}


def times(upper: float = 3_600_000) -> st.SearchStrategy[float]:
    return st.floats(0, upper, **NUMBERS)  # type: ignore[call-overload,no-any-return]


STREAM = {
    "source": st.sampled_from(["microphone", "file"]),
    "device": st.one_of(TEXTS, st.integers(0, 99)),
    "rate_hz": st.integers(8000, 384_000),
    "channels": st.integers(1, 64),
    "path": TEXTS.map(lambda text: "/" + text),
    "pace": st.sampled_from(["realtime", "fast"]),
    "loop": st.booleans(),
    "format": st.sampled_from(["s16le", "s32le", "f32le"]),
}
SETTINGS = {
    "model": {
        "bundle": TEXTS,
        "bundles": st.lists(TEXTS, min_size=1, max_size=3, unique=True),
        "variant": st.sampled_from(["auto", "kernel", "onnx", "onnx-int8", "torch"]),
    },
    "engine": {
        "hop_ms": st.integers(10, 2000),
        "ring_s": st.floats(0.5, 600),
        "stall_s": st.floats(0.001, 3600),
        "history_s": st.floats(0, 60),
    },
    "publish": {
        "endpoints": st.lists(TEXTS, max_size=3),
        "heartbeat_s": st.floats(0.1, 300),
        "high_water": st.integers(1, 10_000_000),
    },
    "ingest": {
        "endpoints": st.lists(TEXTS, max_size=3),
        "max_streams": st.integers(1, 10_000),
        "stream_timeout_s": st.floats(0.001, 604_800),
        "history_s": st.floats(0, 60),
    },
    "clips": {
        "enabled": st.booleans(),
        "directory": PATHS,
        "labels": st.lists(TEXTS, max_size=3),
        "before_s": st.floats(0, 30),
        "after_s": st.floats(0, 30),
        "max_age_days": st.floats(0.001, 36_500),
        "max_mb": st.floats(1, 1_000_000),
    },
    "journal": {
        "enabled": st.booleans(),
        "path": PATHS,
        "sync": st.sampled_from(["full", "normal"]),
        "max_age_days": st.floats(0.001, 36_500),
        "max_mb": st.floats(1, 1_000_000),
    },
    "control": {"endpoints": st.lists(TEXTS, max_size=3)},
    "runtime": {"directory": PATHS},
    "metrics": {"listen": st.text("0123456789.:[]", min_size=1)},
    "security": {"keys": PATHS, "allowed": PATHS, "max_clients": st.integers(1, 100_000)},
    "log": {"level": st.sampled_from(["debug", "info", "warning", "error"])},
}
LABEL = {
    "threshold": st.floats(0.5, 0.99),
    "end_threshold": st.floats(0.01, 0.5),
    "smoothing_ms": times(),
    "min_ms": times(),
    "release_ms": times(),
    "max_ms": times(),
    "refractory_ms": times(),
    "enabled": st.booleans(),
}


def some_of(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def any_settings(draw: st.DrawFn) -> dict[str, Any]:
    """Nested as in a file: any legal value of any setting, given or not."""
    given_ = draw(some_of({section: some_of(fields) for section, fields in SETTINGS.items()}))
    if len(given_.get("model", {}).keys() & {"bundle", "bundles"}) > 1:
        del given_["model"][draw(st.sampled_from(["bundle", "bundles"]))]
    names = draw(st.lists(NAMES, unique=True, max_size=3))
    streams = [{"name": name, **draw(some_of(STREAM))} for name in names]
    for stream in streams:
        if stream.get("source") == "file":
            stream.setdefault("path", "/x.wav")
        else:
            stream.pop("path", None)
    labels = draw(st.dictionaries(st.one_of(NAMES, TEXTS), some_of(LABEL), max_size=3))
    return given_ | ({"stream": streams} if streams else {}) | ({"labels": labels} if labels else {})


def to_toml(value: Any) -> str:
    """A value as TOML writes it, tables inline."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{to_toml(name)} = {to_toml(entry)}" for name, entry in value.items()) + "}"
    return repr(value)


@settings(max_examples=100, deadline=None)
@given(wanted=any_settings())
def test_any_legal_settings_come_through(
    tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, Any]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = folder / "any.toml"
    path.write_text("\n".join(f"{name} = {to_toml(value)}" for name, value in wanted.items()), "utf-8")
    for config in (load_config(path, environment={}), load_config(environment={}, flags=wanted)):
        for section, kind in SECTIONS.items():
            assert getattr(config, section) == kind(**wanted.get(section, {}))
        assert config.streams == [StreamConfig(**stream) for stream in wanted.get("stream", [{}])]
        assert config.labels == {
            name: LabelConfig(**label) for name, label in wanted.get("labels", {}).items()
        }


def test_every_setting_is_in_the_property_test() -> None:
    for name, kind in SECTIONS.items():
        assert set(SETTINGS[name]) == set(kind.__struct_fields__)
    assert {"name", *STREAM} == set(StreamConfig.__struct_fields__)
    assert set(LABEL) == set(LabelConfig.__struct_fields__)
