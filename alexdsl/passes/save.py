"""Stores or recomputes what the backward pass reads: cheap forward ops are repeated beside their backward use."""

from __future__ import annotations

from dataclasses import replace

from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.protocol import Registry
from alexdsl.ir.structure import LEAVES

POLICIES = ("store", "recompute")


def save(graph: Graph, registry: Registry, policy: str = "store") -> Graph:
    """With ``recompute``, a cheap op's result that the backward pass reads is made again there, from operands that are
    kept in any case, so that its memory is free in between. ``store`` changes nothing.
    """
    if policy == "store":
        return graph
    if policy not in POLICIES:
        raise ValueError(f"there is no policy '{policy}' for saving, only {', '.join(POLICIES)}")
    start = next((i for i, op in enumerate(graph.ops) if op.kind == "constant"), len(graph.ops))
    forward, backward = graph.ops[:start], graph.ops[start:]
    kept = {op.name for op in forward if op.kind in LEAVES} | {name for op in backward for name in op.operands}
    again: dict[str, str] = {}
    copies: dict[str, Op] = {}
    for op in forward:
        if op.kind in LEAVES or not registry[op.kind].cheap or not {r.name for r in op.results} & kept:
            continue
        if all(name in kept for name in op.operands) and not _is_output(graph, op):
            renamed = {r.name: f"{r.name}.again" for r in op.results}
            copies[op.name] = replace(op, results=tuple(replace(r, name=renamed[r.name]) for r in op.results))
            again |= renamed
            kept -= set(renamed)
    ops = list(forward)
    made: set[str] = set()
    for op in backward:
        for name in op.operands:
            producer = graph.producers[name].name
            if name in again and producer not in made:
                ops.append(copies[producer])
                made.add(producer)
        ops.append(replace(op, operands=tuple(again.get(name, name) for name in op.operands)))
    return graph.with_ops(ops)


def _is_output(graph: Graph, op: Op) -> bool:
    return any(r.name in graph.outputs.values() for r in op.results)
