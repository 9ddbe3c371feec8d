"""parsed -> parsed: the net as it predicts, without what only training needs (dropout, batch statistics)."""

from __future__ import annotations

from dataclasses import replace

from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.protocol import LayerKind, Registry


def predict(graph: Graph, registry: Registry) -> Graph:
    """The forward graph of prediction; layers that train only become the value that flows into them."""
    return _without(graph, registry, random_only=False)


def without_dropout(graph: Graph, registry: Registry) -> Graph:
    """The training graph with the layers that draw numbers as they predict, all others as they train."""
    return _without(graph, registry, random_only=True)


def _without(graph: Graph, registry: Registry, *, random_only: bool) -> Graph:
    same: dict[str, str] = {}
    ops: list[Op] = []
    for op in graph:
        operands = tuple(same.get(name, name) for name in op.operands)
        kind = registry[op.kind]
        if not isinstance(kind, LayerKind) or (random_only and not kind.random):
            ops.append(replace(op, operands=operands))
            continue
        changed = kind.predict(replace(op, operands=operands))
        if changed is None:
            same[op.name] = operands[0]
        else:
            ops.append(changed)
    outputs = {label: same.get(name, name) for label, name in graph.outputs.items()}
    return graph.with_ops(ops, outputs=outputs)
