"""From a spec to its network in torch. Imports torch."""

from __future__ import annotations

from streamer.inference.networks.attention import StreamingAttention
from streamer.inference.networks.base import State, StreamingNetwork
from streamer.inference.networks.conv import StreamingConv
from streamer.inference.networks.conv_lstm import StreamingConvLstm
from streamer.inference.networks.gru import StreamingGru
from streamer.inference.networks.lstm import StreamingLstm
from streamer.inference.spec import AttentionSpec, ConvLstmSpec, ConvSpec, GruSpec, LstmSpec, NetworkSpec

__all__ = ["State", "StreamingLstm", "StreamingNetwork", "build_network"]


def build_network(spec: NetworkSpec) -> StreamingNetwork:
    """The network that a spec describes, with torch's random weights."""
    match spec:
        case LstmSpec():
            return StreamingLstm(spec)
        case GruSpec():
            return StreamingGru(spec)
        case ConvLstmSpec():
            return StreamingConvLstm(spec)
        case ConvSpec():
            return StreamingConv(spec)
        case AttentionSpec():
            return StreamingAttention(spec)
    raise TypeError(f"{spec.type}: the daemon runs no network of this family")
