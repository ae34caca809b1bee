"""`streamer models`: the bundles that can be named, and what one of them is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from streamer.errors import EXIT_OK, StreamerError

if TYPE_CHECKING:
    from streamer.inference.bundle import Bundle

HELP = "List the model bundles, or describe one after checking it."
EXAMPLE = """  streamer models
  streamer models default
  streamer models ~/my-model --card"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of models."""
    parser.add_argument("bundle", nargs="?", metavar="BUNDLE", help="name or folder")
    parser.add_argument("--card", action="store_true", help="print its model card")


def run(options: argparse.Namespace) -> int:
    """Without a name a line for each bundle, with one the whole of it."""
    from streamer.inference.bundle import list_bundles, load_bundle

    if options.bundle:
        bundle = load_bundle(options.bundle)
        print(bundle.file("card").read_text("utf-8") if options.card else _describe(bundle))
        return EXIT_OK
    if options.card:
        raise StreamerError("--card needs a BUNDLE", "such as `streamer models default --card`")
    for name, folder in list_bundles().items():
        try:
            manifest = load_bundle(folder).manifest
            print(
                f"{name:<16} {manifest.version:<12} {len(manifest.labels):3} labels  {manifest.description}"
            )
        except StreamerError as error:
            print(f"{name:<16} damaged: {error}")
    return EXIT_OK


def _describe(bundle: Bundle) -> str:
    from streamer.inference.model import VARIANTS, variant_of

    manifest = bundle.manifest
    lines = [
        f"{manifest.name} {manifest.version}: {manifest.description}",
        f"folder    {bundle.folder}",
        f"variants  {', '.join(variant for variant in VARIANTS if variant in manifest.files)}; "
        f"runs as {variant_of(bundle, 'auto')} here",
        f"network   {manifest.network.layers} x {manifest.network.hidden} {manifest.network.type}, "
        f"a score row every {10 * manifest.network.stride} ms",
        f"features  {manifest.features.kind}, {manifest.features.size} numbers every 10 ms",
        f"trained   {manifest.provenance.trained_utc} from {manifest.provenance.git_revision}",
        "labels    kind     threshold",
    ]
    if "page" in manifest.files:
        lines.insert(2, f"report    {bundle.file('page')}")
    lines += [f"  {rule.name:<20} {rule.kind:<8} {rule.threshold:.2f}" for rule in manifest.labels]
    return "\n".join(lines)
