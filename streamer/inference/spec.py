"""The families of networks: what a manifest says of one, and the state that it carries. No torch here."""

from __future__ import annotations

from typing import Annotated

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1, le=65_536)]
"""Bounded, so that no manifest makes us ask for absurd amounts of memory."""
Front = Annotated[int, msgspec.Meta(ge=0, le=65_536)]
Kernel = Annotated[int, msgspec.Meta(ge=2, le=64)]


class StateSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One state tensor, as the exported graphs name and shape it."""

    name: str
    shape: tuple[Positive, ...]
    """Without the leading axis, which counts streams."""


class NetworkSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    """What all families share; each adds its own shape, from which the Torch variant is rebuilt."""

    inputs: Positive
    outputs: Positive
    stride: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    """Feature rows that become one row of the network."""
    hidden: Positive
    layers: Positive

    @property
    def type(self) -> str:
        """The family's name."""
        return str(self.__struct_config__.tag)

    @property
    def gathered(self) -> int:
        """Width of `stride` feature rows side by side."""
        return self.inputs * self.stride

    @property
    def state(self) -> tuple[StateSpec, ...]:
        """What is carried from call to call; zeros where a stream begins."""
        raise NotImplementedError


class LstmSpec(NetworkSpec, frozen=True, tag="lstm"):
    """A dense layer, then LSTM layers."""

    front: Front = 0
    """Width of the dense layer before the recurrent ones; 0: none."""

    @property
    def state(self) -> tuple[StateSpec, ...]:
        """What each layer last said, and its cells."""
        shape = (self.layers, self.hidden)
        return StateSpec("h", shape), StateSpec("c", shape)


class GruSpec(NetworkSpec, frozen=True, tag="gru"):
    """A dense layer, then GRU layers."""

    front: Front = 0
    """Width of the dense layer before the recurrent ones; 0: none."""

    @property
    def state(self) -> tuple[StateSpec, ...]:
        """What each layer last said."""
        return (StateSpec("h", (self.layers, self.hidden)),)


class ConvLstmSpec(NetworkSpec, frozen=True, tag="conv_lstm"):
    """A dense layer, causal convolutions over time, then LSTM layers."""

    front: Positive
    """Width of the dense layer and of the convolutions."""
    convolutions: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    kernel: Kernel = 3
    """Rows that a convolution sees."""

    @property
    def state(self) -> tuple[StateSpec, ...]:
        """The convolutions' last inputs, one after the other; then as for an LSTM."""
        shape = (self.layers, self.hidden)
        past = (self.convolutions * (self.kernel - 1), self.front)
        return StateSpec("past", past), StateSpec("h", shape), StateSpec("c", shape)


class ConvSpec(NetworkSpec, frozen=True, tag="conv"):
    """A dense layer, then residual blocks of causal depthwise convolutions with growing dilation."""

    kernel: Kernel = 5
    cycle: Annotated[int, msgspec.Meta(ge=1, le=8)] = 4
    """Dilation doubles from block to block, and after so many blocks begins again at 1."""

    def __post_init__(self) -> None:
        if sum(self.past_rows) > 65_536:
            raise ValueError("layers, kernel and cycle ask for a state of more than 65536 rows")

    @property
    def dilations(self) -> tuple[int, ...]:
        """Rows between a block's taps."""
        return tuple(2 ** (layer % self.cycle) for layer in range(self.layers))

    @property
    def past_rows(self) -> tuple[int, ...]:
        """Rows that each block must remember."""
        return tuple((self.kernel - 1) * dilation for dilation in self.dilations)

    @property
    def state(self) -> tuple[StateSpec, ...]:
        """The blocks' last inputs, one block after the other."""
        return (StateSpec("past", (sum(self.past_rows), self.hidden)),)


class AttentionSpec(NetworkSpec, frozen=True, tag="attention"):
    """A dense layer, then transformer blocks that see a bounded window of the past."""

    heads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    window: Annotated[int, msgspec.Meta(ge=2, le=4096)] = 50
    """Rows that a row sees, itself among them."""
    expand: Annotated[int, msgspec.Meta(ge=1, le=16)] = 2
    """How much wider than `hidden` the dense layers between two attentions are."""

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} cannot be shared out among {self.heads} heads")

    @property
    def state(self) -> tuple[StateSpec, ...]:
        """Keys and values of the rows that are still in sight."""
        shape = (self.layers, self.window - 1, self.hidden)
        return StateSpec("keys", shape), StateSpec("values", shape)


Network = LstmSpec | GruSpec | ConvLstmSpec | ConvSpec | AttentionSpec
"""Every family that the daemon runs, told apart by `type`."""
