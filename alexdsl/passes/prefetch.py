"""placed -> placed: lets the next step's inputs be brought while this step computes, if devices are fed from afar."""

from __future__ import annotations

from dataclasses import replace

from alexdsl.ir.backend import Backend
from alexdsl.ir.graph import Graph, Op, Result


def prefetch(graph: Graph, backend: Backend) -> Graph:
    """The graph with every input copied on its device before it is used, if the backend is so fed.

    The input itself is then free for the next step's as soon as the copy is done.
    """
    if not backend.prefetches:
        return graph
    copies: dict[str, Op] = {}
    for op in graph:
        if op.kind == "input":
            type = graph.type(op.name)
            name = f"{op.name}.fetched"
            attrs = {"source": op.device, "bytes": type.bytes}
            copies[op.name] = Op("copy", (op.name,), (Result(name, type),), attrs, op.device, op.layer, op.location)
    # All at the beginning, so that nothing of the step holds up what is brought for the next one.
    first = [each for op in graph if op.name in copies for each in (op, copies[op.name])]
    rest = [op for op in graph if op.name not in copies]
    used = [replace(op, operands=tuple(copies[n].name if n in copies else n for n in op.operands)) for op in rest]
    return graph.with_ops([*first, *used])
