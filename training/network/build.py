"""From a spec to its network, the daemon's families and training's own. Imports torch."""

from __future__ import annotations

from streamer.inference.network import StreamingNetwork
from streamer.inference.network import build_network as build_streaming_network
from streamer.inference.spec import NetworkSpec
from training.network.bidirectional import BidirectionalLstm
from training.network.specs import BidirectionalSpec


def build_network(spec: NetworkSpec) -> StreamingNetwork:
    """The network that a spec describes, with torch's random weights."""
    if isinstance(spec, BidirectionalSpec):
        return BidirectionalLstm(spec)
    return build_streaming_network(spec)
