"""`streamer devices`: the microphones."""

from __future__ import annotations

import argparse

from streamer.errors import EXIT_OK

HELP = "List the input devices; the default one is marked."
EXAMPLE = """  streamer devices
  streamer run --device 3
  streamer run --device USB"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of devices."""
    parser.add_argument("--json", action="store_true", help="one JSON object a device")


def run(options: argparse.Namespace) -> int:
    """Print a line for each device; none at all is a fault."""
    import json

    from streamer.capture.devices import NoInputDevice, list_input_devices

    found = list_input_devices()
    if not found:
        raise NoInputDevice
    for device in found:
        if options.json:
            print(json.dumps(vars(device)))
        else:
            mark = "*" if device.is_default else " "
            print(f"{mark} {device}")
    return EXIT_OK
