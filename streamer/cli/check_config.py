"""`streamer check-config`: is it right, and what is in force?"""

from __future__ import annotations

import argparse

from streamer.cli.settings import add_config_options, add_stream_options, flag_settings
from streamer.errors import EXIT_OK

HELP = "Check the settings from file, environment and flags; every fault is told at once."
EXAMPLE = """  streamer check-config
  streamer check-config --config kitchen.toml --show"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of check-config."""
    add_config_options(parser)
    add_stream_options(parser)
    parser.add_argument("--show", action="store_true", help="print the settings in force as JSON")


def run(options: argparse.Namespace) -> int:
    """Load as `run` would, the model's labels included."""
    from streamer.config import load_config, tuned_rules
    from streamer.inference.model import load_bundles
    from streamer.outgoing import check_endpoints

    config = load_config(options.config, flags=flag_settings(options))
    bundles = load_bundles(config.model.names)
    tuned_rules([rule for bundle in bundles for rule in bundle.manifest.labels], config.labels)
    check_endpoints(config)
    if options.show:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(config), indent=2).decode())
    else:
        streams = ", ".join(stream.name for stream in config.streams)
        models = ", ".join(bundle.manifest.name for bundle in bundles)
        print(f"the config is good: {len(config.streams)} stream(s) ({streams}), model {models}")
    return EXIT_OK
