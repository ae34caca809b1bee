"""All families that can be trained, by name: the daemon's and the one for whole clips. No torch here."""

from __future__ import annotations

from typing import get_args

import msgspec

from streamer.errors import StreamerError
from streamer.inference.spec import Front, Network, NetworkSpec, StateSpec


class BidirectionalSpec(NetworkSpec, frozen=True, tag="bidirectional"):
    """A dense layer, then LSTM layers that read a whole clip from both ends."""

    front: Front = 0
    """Width of the dense layer before the recurrent ones; 0: none."""

    @property
    def state(self) -> tuple[StateSpec, ...]:
        """Nothing: there is no next chunk."""
        return ()


FAMILIES: dict[str, type[NetworkSpec]] = {
    str(family.__struct_config__.tag): family for family in (*get_args(Network), BidirectionalSpec)
}
"""By the name that settings and manifests use."""


class NotForTheDaemon(StreamerError):
    """The network cannot run on a stream; nothing is exported."""


def make_spec(family: str, **shape: int) -> NetworkSpec:
    """The spec of a family; raises StreamerError where the shape does not fit it.

    `front` is left out where a family has none: there the first dense layer is as wide as the rest.
    """
    if family not in FAMILIES:
        raise StreamerError(f"network family {family!r} is unknown", f"there are {', '.join(FAMILIES)}")
    wanted = {name: size for name, size in shape.items() if name != "front" or _has_front(family)}
    try:
        return msgspec.convert(wanted | {"type": family}, FAMILIES[family])
    except msgspec.ValidationError as error:
        raise StreamerError(f"network family {family}: {error}") from error


def _has_front(family: str) -> bool:
    return "front" in FAMILIES[family].__struct_fields__


def streaming(spec: NetworkSpec) -> Network:
    """The same spec, known to run in the daemon; refuses the one that does not, and says why."""
    if isinstance(spec, Network):
        return spec
    raise NotForTheDaemon(
        f"a {spec.type} network is not exported for the daemon: it needs the end of the sound before it can"
        " score its beginning, and a live stream has no end",
        "train a causal family such as lstm",
    )
