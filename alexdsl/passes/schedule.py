"""laid-out -> scheduled, first half: picks a strategy for every op by the backend's deterministic cost table."""

from __future__ import annotations

from dataclasses import replace

from alexdsl.ir.backend import Backend
from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.structure import LEAVES


def schedule(graph: Graph, backend: Backend) -> Graph:
    """The graph with ``strategy`` and ``workspace`` on every op that computes; the first of equals is taken."""
    return graph.with_ops([_choose(graph, op, backend) for op in graph], stage="scheduled")


def _choose(graph: Graph, op: Op, backend: Backend) -> Op:
    if op.kind in LEAVES:
        return op
    found = backend.strategies(op, graph.types(op.operands), graph.types(r.name for r in op.results))
    best = min(found, key=lambda strategy: strategy.cost)
    chosen = {"strategy": best.name} if best.name else {}
    scratch = {"workspace": best.workspace} if best.workspace else {}
    return replace(op, attrs={**op.attrs, **chosen, **scratch})
