"""The reference interpreter: runs a graph of any stage op by op in NumPy, the living definition of its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.protocol import Array, Registry
from alexdsl.ir.semantics import Semantics, taken_over
from alexdsl.ir.structure import LEAVES


@dataclass(frozen=True)
class Outcome:
    """``outputs`` by the graph's labels, the arrays that a step replaced by the weights' names, and every value."""

    outputs: Mapping[str, Array]
    updates: Mapping[str, Array]
    values: Mapping[str, Array]


def interpret(graph: Graph, registry: Registry, given: Mapping[str, Array]) -> Outcome:
    """Run ``graph`` on whole arrays in the logical layout: inputs by field, weights and state by name.

    The arithmetic is in the arrays' own precision: hand in float64 weights and images to get a float64 step.
    Raises KeyError for an array that is missing.
    """
    semantics = Semantics(registry)
    values: dict[str, Array] = {}
    updates: dict[str, dict[int, Array]] = {}
    for op in graph:
        if op.kind in LEAVES:
            values[op.name] = _leaf(op, given)
            continue
        results = semantics.reference(op.kind, [values[name] for name in op.operands], op.attrs)
        values.update(zip((r.name for r in op.results), results, strict=True))
        for result, operand in taken_over(op, registry).items():
            leaf = _leaf_of(graph, op.operands[operand], registry)
            if leaf is None:
                continue
            whole = leaf.attrs.get("of", leaf.name)
            updates.setdefault(whole, {})[leaf.attrs.get("tower", 0)] = values[op.results[result].name]
    replaced = {name: _whole(parts) for name, parts in updates.items()}
    return Outcome({k: values[v] for k, v in graph.outputs.items()}, replaced, values)


def _leaf_of(graph: Graph, name: str, registry: Registry) -> Op | None:
    """The weight or state whose storage a value has taken over, if it has."""
    op = graph.producers[name]
    while op.kind not in LEAVES:
        operand = taken_over(op, registry).get([r.name for r in op.results].index(name))
        if operand is None:
            return None
        name = op.operands[operand]
        op = graph.producers[name]
    return op


def _whole(parts: Mapping[int, Array]) -> Array:
    ordered = [parts[tower] for tower in sorted(parts)]
    return ordered[0] if len(ordered) == 1 else np.concatenate(ordered)


def _leaf(op: Op, given: Mapping[str, Array]) -> Array:
    if op.kind == "input":
        array = given[op.attrs["field"]]
        return array[slice(*op.attrs["rows"])] if "rows" in op.attrs else array
    array = given[op.attrs.get("of", op.name)]
    if "tower" not in op.attrs:
        return array
    rows = len(array) // op.attrs["towers"]
    return array[op.attrs["tower"] * rows : (op.attrs["tower"] + 1) * rows]
