"""The small transformer: every block keeps the keys and values of the rows that are still in sight."""

from __future__ import annotations

import numpy as np

from streamer.inference.spec import AttentionSpec
from training.export.graph_builder import Graph

OUT_OF_SIGHT = -1e9
"""As in training's network."""


def attention_body(graph: Graph, rows: str, spec: AttentionSpec) -> str:
    """Gathered rows to hidden ones."""
    rows = graph.active(rows, "front")
    place = _place(graph, rows, spec)
    pasts = zip(*(_split_state(graph, state, spec.layers) for state in ("keys", "values")), strict=True)
    after = []
    for number, (keys, values) in enumerate(pasts):
        seen, *kept = _attention(graph, rows, place, (keys, values), number, spec)
        rows = _dense(graph, graph.add("Add", [rows, seen], f"blocks.{number}.sum"), number)
        after.append(kept)
    for state, parts in zip(("keys", "values"), zip(*after, strict=True), strict=True):
        longer = [graph.add("Unsqueeze", [part, graph.integers(1)], f"{part}.layer") for part in parts]
        graph.add("Concat", longer, f"{state}_out", axis=1)
    return graph.norm(rows, "norm")


def _place(graph: Graph, rows: str, spec: AttentionSpec) -> str:
    """(T, window - 1 + T): which column of the padded bias each pair of rows takes."""
    count = graph.add("Shape", [rows], "count", start=1, end=2)
    count = graph.add("Squeeze", [count], "count.scalar")
    every = graph.add("Add", [count, graph.scalar(spec.window - 1)], "every.count")
    now = graph.add("Range", [graph.scalar(0), count, graph.scalar(1)], "now")
    every = graph.add("Range", [graph.scalar(0), every, graph.scalar(1)], "every")
    now = graph.add("Unsqueeze", [now, graph.integers(1)], "now.column")
    place = graph.add("Sub", [every, now], "place.from_first")
    place = graph.add("Clip", [place, graph.scalar(-1), graph.scalar(spec.window)], "place.within")
    return graph.add("Add", [place, graph.scalar(1)], "place")


def _split_state(graph: Graph, state: str, layers: int) -> list[str]:
    """(N, layers, window - 1, hidden) to one (N, window - 1, hidden) a layer."""
    parts = graph.split(state, [1] * layers, 1, f"{state}.part")
    return [graph.add("Squeeze", [part, graph.integers(1)], f"{part}.rows") for part in parts]


def _attention(
    graph: Graph, rows: str, place: str, past: tuple[str, str], number: int, spec: AttentionSpec
) -> tuple[str, str, str]:
    """What each row sees, and the keys and values for the next call."""
    block, name = f"blocks.{number}", f"blocks.{number}.attention"
    joint = graph.dense(graph.norm(rows, f"{block}.norm"), f"{name}.joint")
    queries, new_keys, new_values = graph.split(joint, [spec.hidden] * 3, 2, f"{name}.part")
    keys, kept_keys = graph.with_past(new_keys, past[0], spec.window - 1, f"{name}.keys")
    values, kept_values = graph.with_past(new_values, past[1], spec.window - 1, f"{name}.values")
    scores = graph.add(
        "MatMul",
        [_by_head(graph, queries, spec, 0, 2, 1, 3), _by_head(graph, keys, spec, 0, 2, 3, 1)],
        f"{name}.products",
    )
    scale = graph.constant("head_scale", np.array((spec.hidden // spec.heads) ** -0.5, np.float32))
    scores = graph.add("Mul", [scores, scale], f"{name}.scaled")
    scores = graph.add("Add", [scores, _bias(graph, place, name, spec)], f"{name}.scores")
    weights = graph.add("Softmax", [scores], f"{name}.weights", axis=-1)
    seen = graph.add("MatMul", [weights, _by_head(graph, values, spec, 0, 2, 1, 3)], f"{name}.by_head")
    seen = graph.transpose(seen, f"{name}.by_row", 0, 2, 1, 3)
    seen = graph.add("Reshape", [seen, graph.integers(0, 0, spec.hidden)], f"{name}.seen")
    return graph.dense(seen, f"{name}.out"), kept_keys, kept_values


def _by_head(graph: Graph, rows: str, spec: AttentionSpec, *order: int) -> str:
    """(N, T, hidden) shared out as (N, T, heads, hidden / heads), with the axes in this order."""
    shape = graph.integers(0, 0, spec.heads, spec.hidden // spec.heads)
    return graph.transpose(graph.add("Reshape", [rows, shape], f"{rows}.shared"), f"{rows}.heads", *order)


def _bias(graph: Graph, place: str, name: str, spec: AttentionSpec) -> str:
    """(heads, T, window - 1 + T)."""
    hidden = np.full((spec.heads, 1), OUT_OF_SIGHT, np.float32)
    padded = np.concatenate((hidden, graph.weights[f"{name}.age"], hidden), axis=1)
    return graph.add("Gather", [graph.constant(f"{name}.age.padded", padded), place], f"{name}.bias", axis=1)


def _dense(graph: Graph, rows: str, number: int) -> str:
    name = f"blocks.{number}"
    wide = graph.active(graph.norm(rows, f"{name}.dense_norm"), f"{name}.widen")
    return graph.add("Add", [rows, graph.dense(wide, f"{name}.narrow")], f"{name}.dense")
