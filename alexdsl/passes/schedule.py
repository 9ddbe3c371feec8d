"""laid-out -> scheduled, first part: picks a strategy for every op, by the backend's deterministic cost table or as it
was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from alexdsl.ir.backend import Backend, Gap, Strategy
from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.structure import LEAVES


def schedule(graph: Graph, backend: Backend, tuned: Mapping[str, str] | None = None) -> Graph:
    """The graph with ``strategy`` and ``workspace`` on every op that computes: the one ``tuned`` for it, by its name;
    else the cheapest in the graph's ``precision``, where an op has one in it, else in fp32; the first of equals.

    Raises Gap where nothing can be computed in that precision.
    """
    precision = graph.attrs.get("precision", "fp32")
    chosen = {
        op.name: _choose(graph, op, backend, precision, (tuned or {}).get(op.name))
        for op in graph
        if op.kind not in LEAVES
    }
    if precision != "fp32" and all(strategy.precision == "fp32" for strategy in chosen.values()):
        raise Gap(f"the {backend.name} backend has no kernels in {precision}: use --set solver.precision=fp32")
    return graph.with_ops([_marked(op, chosen.get(op.name)) for op in graph], stage="scheduled")


def _choose(graph: Graph, op: Op, backend: Backend, precision: str, tuned: str | None) -> Strategy:
    found = backend.strategies(op, graph.types(op.operands), graph.types(r.name for r in op.results))
    exact = [strategy for strategy in found if strategy.precision == "fp32"]
    asked = [strategy for strategy in found if strategy.precision == precision]
    measured = [strategy for strategy in found if strategy.name == tuned]
    return min(measured or asked or exact, key=lambda strategy: strategy.cost)


def _marked(op: Op, strategy: Strategy | None) -> Op:
    if strategy is None:
        return op
    name = {"strategy": strategy.name} if strategy.name else {}
    scratch = {"workspace": strategy.workspace} if strategy.workspace else {}
    return replace(op, attrs={**op.attrs, **name, **scratch})
