"""`streamer check-config`: is it right, and what is in force?"""

from __future__ import annotations

import argparse

from streamer.cli.settings import add_config_options, add_stream_options, flag_settings
from streamer.errors import EXIT_OK

NAME = "check-config"
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
    from streamer.delivery.endpoints import CONTROL, INGEST, PUBLISH, check_bind_endpoint, security_for
    from streamer.inference.bundle import load_bundle

    config = load_config(options.config, flags=flag_settings(options))
    bundle = load_bundle(config.model.bundle)
    tuned_rules(bundle.manifest.labels, config.labels)
    uses = ((PUBLISH, config.publish), (CONTROL, config.control), (INGEST, config.ingest))
    endpoints = [(text, use) for use, settings in uses for text in settings.endpoints]
    security = security_for([text for text, _ in endpoints], config.security.keys, config.security.allowed)
    for text, use in endpoints:
        check_bind_endpoint(text, use, security)
    if options.show:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(config), indent=2).decode())
    else:
        streams = ", ".join(stream.name for stream in config.streams)
        print(
            f"the config is good: {len(config.streams)} stream(s) ({streams}), model {bundle.manifest.name}"
        )
    return EXIT_OK
