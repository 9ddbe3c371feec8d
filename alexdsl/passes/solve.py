"""Turns gradients into updates: one solver op per trained parameter, with its velocity as state."""

from __future__ import annotations

from dataclasses import replace

from alexdsl.ir.graph import Graph, Op, Result
from alexdsl.ir.types import TensorType


def solve(graph: Graph, solver: str) -> Graph:
    """The graph with an update op of kind ``solver`` for each output ``NAME.grad``, which then is no output any more.

    ``%rate`` is the schedule's factor of this step, an input.
    """
    rate = Op("input", (), (Result("rate", TensorType("f32", ())),), {"field": "rate"})
    updates: list[Op] = []
    states: list[Op] = []
    for op in graph:
        grad = graph.outputs.get(f"{op.name}.grad") if op.kind == "parameter" else None
        if grad is None:
            continue
        shape = graph.type(op.name)
        shared = {key: op.attrs[key] for key in ("towers", "place") if key in op.attrs}
        velocity = f"{op.name}.velocity"
        states.append(
            Op("state", (), (Result(velocity, shape),), {"role": "velocity", **shared}, None, op.layer, op.location)
        )
        attrs = {**{key: op.attrs[key] for key in ("lr", "decay", "momentum", "velocity")}, **shared}
        results = (Result(f"{op.name}.new", shape), Result(f"{velocity}.new", shape))
        updates.append(Op(solver, (op.name, velocity, grad, "rate"), results, attrs, None, op.layer, op.location))
    outputs = {label: name for label, name in graph.outputs.items() if not label.endswith(".grad")}
    leaves = [rate, *states] if updates else []
    return replace(graph.with_ops((*leaves, *_woven(graph, updates))), outputs=outputs)


def _woven(graph: Graph, updates: list[Op]) -> list[Op]:
    """The graph's ops with each update as early as may be, so that gradients die young: after its gradient and after
    the last reader of the weight, which it overwrites."""
    position = {r.name: i for i, op in enumerate(graph.ops) for r in op.results}
    position_of = {id(op): i for i, op in enumerate(graph.ops)}
    after: dict[int, list[Op]] = {}
    for update in updates:
        readers = [position_of[id(op)] for op in graph.users[update.operands[0]]]
        after.setdefault(max(position[update.operands[2]], *readers), []).append(update)
    woven: list[Op] = []
    for i, op in enumerate(graph.ops):
        woven += [op, *after.get(i, ())]
    return woven
