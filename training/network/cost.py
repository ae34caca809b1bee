"""What a network costs, from its spec: parameters, and multiply-adds for a second of sound. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from streamer.audio import SAMPLE_RATE_HZ
from streamer.features.settings import HOP_SAMPLES
from streamer.inference.spec import AttentionSpec, ConvLstmSpec, ConvSpec, GruSpec, LstmSpec, NetworkSpec
from training.network.specs import BidirectionalSpec

FRAMES_PER_S = SAMPLE_RATE_HZ / HOP_SAMPLES
LSTM_GATES, GRU_GATES = 4, 3


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters, and one row's multiply-adds in products and convolutions, without element-wise work."""

    parameters: int = 0
    row_multiply_adds: int = 0
    stride: int = 1

    @property
    def multiply_adds_per_s(self) -> float:
        """Of sound."""
        return self.row_multiply_adds * FRAMES_PER_S / self.stride

    def __add__(self, other: Cost) -> Cost:
        added = self.row_multiply_adds + other.row_multiply_adds
        return Cost(self.parameters + other.parameters, added, self.stride)

    def __mul__(self, times: int) -> Cost:
        return Cost(self.parameters * times, self.row_multiply_adds * times, self.stride)


def cost(spec: NetworkSpec) -> Cost:
    """Of one stream that sends its sound as it comes."""
    body, width = _body(spec)
    total = body + _dense(width, spec.outputs)
    return Cost(total.parameters, total.row_multiply_adds, spec.stride)


def _body(spec: NetworkSpec) -> tuple[Cost, int]:
    """All but the head, and how wide the head's input is."""
    h = spec.hidden
    match spec:
        case LstmSpec():
            return _front(spec) + _recurrent(LSTM_GATES, spec.front or spec.gathered, spec), h
        case GruSpec():
            return _front(spec) + _recurrent(GRU_GATES, spec.front or spec.gathered, spec), h
        case BidirectionalSpec():
            front = _front(spec)
            return front + _recurrent(LSTM_GATES, spec.front or spec.gathered, spec, directions=2), 2 * h
        case ConvLstmSpec():
            taps = spec.kernel * spec.front**2
            convolutions = Cost(taps + spec.front, taps) * spec.convolutions
            return _front(spec) + convolutions + _recurrent(LSTM_GATES, spec.front, spec), h
        case ConvSpec():
            block = _norm(h) + Cost((spec.kernel + 1) * h, spec.kernel * h) + _dense(h, h)
            return _dense(spec.gathered, h) + block * spec.layers + _norm(h), h
        case AttentionSpec():
            window = Cost(spec.heads * spec.window, 2 * spec.window * h)  # products with keys, with values
            dense = _dense(h, spec.expand * h) + _dense(spec.expand * h, h)
            block = _norm(h) * 2 + _dense(h, 3 * h) + window + _dense(h, h) + dense
            return _dense(spec.gathered, h) + block * spec.layers + _norm(h), h
    raise TypeError(f"{spec.type}: of unknown cost")


def _front(spec: LstmSpec | GruSpec | BidirectionalSpec | ConvLstmSpec) -> Cost:
    return _dense(spec.gathered, spec.front) if spec.front else Cost()


def _dense(inputs: int, outputs: int) -> Cost:
    return Cost(inputs * outputs + outputs, inputs * outputs)


def _norm(width: int) -> Cost:
    return Cost(2 * width)


def _recurrent(gates: int, inputs: int, spec: NetworkSpec, directions: int = 1) -> Cost:
    total = Cost()
    for layer in range(spec.layers):
        width = inputs if layer == 0 else directions * spec.hidden
        products = gates * spec.hidden * (width + spec.hidden)
        total += Cost(products + 2 * gates * spec.hidden, products) * directions  # torch keeps two biases
    return total


def scaled(spec: NetworkSpec, hidden: int) -> NetworkSpec:
    """The same network at another width; a `front` keeps its proportion."""
    sizes = {"hidden": hidden}
    front = getattr(spec, "front", 0)
    if front:
        sizes["front"] = max(1, round(front * hidden / spec.hidden))
    return msgspec.structs.replace(spec, **sizes)


def at_cost(spec: NetworkSpec, multiply_adds_per_s: float) -> NetworkSpec:
    """The width at which the network comes nearest to this cost."""
    step = getattr(spec, "heads", 1)
    low, high = 1, 2
    while cost(scaled(spec, high * step)).multiply_adds_per_s < multiply_adds_per_s:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if cost(scaled(spec, middle * step)).multiply_adds_per_s < multiply_adds_per_s:
            low = middle
        else:
            high = middle
    return min(
        (scaled(spec, width * step) for width in (low, high)),
        key=lambda sized: abs(cost(sized).multiply_adds_per_s - multiply_adds_per_s),
    )
