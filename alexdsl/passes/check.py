"""Checks a bound spec's shapes: every misfit becomes a diagnostic at its place, with what flows in and where it came from."""

from __future__ import annotations

from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.protocol import Registry
from alexdsl.ir.structure import LEAVES
from alexdsl.language import Diagnostics
from alexdsl.passes.bind import Bound
from alexdsl.passes.infer import infer


def check_shapes(bound: Bound, registry: Registry) -> Graph:
    """The spec's forward graph with types. Raises SpecError with every misfit."""
    diagnostics = Diagnostics()
    misfits: list[tuple[Op, str, str]] = []
    shaped = infer(bound.graph, registry, lambda op, message, hint: misfits.append((op, message, hint)))
    for op, message, hint in misfits:
        notes = [note for name in op.operands if (note := _note(shaped, name, bound))]
        diagnostics.error(bound.spans.get(op.location), f"{op.layer}: {message}", *notes, hint=hint or None)
    diagnostics.raise_if_errors()
    return shaped


def _note(graph: Graph, name: str, bound: Bound) -> str | None:
    """``conv3 gives f32[128, 256, 13, 13] (line 20)`` for a value that flows into an op."""
    maker = graph.producers[name]
    found = graph.results[name].type
    if found is None or (maker.kind in LEAVES and maker.kind != "input"):
        return None
    span = bound.spans.get(maker.location)
    where = f" (line {span.line})" if span else ""
    return f"{maker.layer or name} gives {found.dtype}[{', '.join(map(str, found.shape))}]{where}"
