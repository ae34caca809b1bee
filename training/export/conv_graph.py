"""The convolutional net: every block keeps its last inputs."""

from __future__ import annotations

from streamer.inference.spec import ConvSpec
from training.export.graph_builder import Graph


def conv_body(graph: Graph, rows: str, spec: ConvSpec) -> str:
    """Gathered rows to hidden ones."""
    rows, after = graph.active(rows, "front"), []
    for number, past in enumerate(graph.split("past", spec.past_rows, 1, "past.part")):
        rows, kept = _block(graph, rows, past, number, spec)
        after.append(kept)
    graph.add("Concat", after, "past_out", axis=1)
    return graph.norm(rows, "norm")


def _block(graph: Graph, rows: str, past: str, number: int, spec: ConvSpec) -> tuple[str, str]:
    """(N, T, hidden) and the rows remembered to the next of both."""
    name = f"blocks.{number}"
    longer, kept = graph.with_past(graph.norm(rows, f"{name}.norm"), past, spec.past_rows[number], name)
    taps = graph.depthwise(longer, f"{name}.taps", spec.dilations[number])
    return graph.add("Add", [rows, graph.active(taps, f"{name}.mix")], f"{name}.out"), kept
