"""Turns gradients into updates: one solver op per trained parameter, with what it keeps as state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from alexdsl.ir.graph import Graph, Op, Result
from alexdsl.ir.protocol import Registry
from alexdsl.ir.types import TensorType

SCALARS = {"rate": TensorType("f32", ()), "step": TensorType("i64", ())}


def solve(graph: Graph, registry: Registry) -> Graph:
    """The graph with an update op of its solver for each output ``NAME.grad``, which then is no output any more.

    ``%rate`` is the schedule's factor of this step, ``%step`` its number, inputs both. With ``clip`` all gradients are
    scaled first, by what brings their global norm down to it.
    """
    kind = registry.solvers[graph.attrs["solver"]]
    trained = [op for op in graph if op.kind == "parameter" and f"{op.name}.grad" in graph.outputs]
    grads = {op.name: graph.outputs[f"{op.name}.grad"] for op in trained}
    outputs = {label: name for label, name in graph.outputs.items() if not label.endswith(".grad")}
    if not trained:
        return replace(graph, outputs=outputs)
    clips, grads = _clipped(graph, trained, grads) if "clip" in graph.attrs else ([], grads)
    known = {op.attrs["field"]: op.name for op in graph if op.kind == "input"}
    leaves = [_scalar(name) for name in kind.scalars if name not in known]
    updates: list[Op] = []
    for op in trained:
        shape = graph.type(op.name)
        shared = _shared(op)
        states = [f"{op.name}.{role}" for role in kind.states]
        for role, state in zip(kind.states, states, strict=True):
            attrs = {"role": role, **shared}
            leaves.append(Op("state", (), (Result(state, shape),), attrs, None, op.layer, op.location))
        numbers = dict.fromkeys((*kind.rates, *(p.name for p in kind.parameters)))
        attrs = {**{name: op.attrs[name] for name in numbers}, **shared}
        operands = (op.name, *states, grads[op.name], *(known.get(name, name) for name in kind.scalars))
        results = tuple(Result(f"{name}.new", shape) for name in (op.name, *states))
        updates.append(Op(kind.name, operands, results, attrs, None, op.layer, op.location))
    return replace(graph.with_ops((*leaves, *_woven(graph, clips, updates, grads))), outputs=outputs)


def _scalar(name: str) -> Op:
    return Op("input", (), (Result(name, SCALARS[name]),), {"field": name})


def _shared(parameter: Op) -> dict[str, object]:
    """How towers share a parameter, which is how they share its gradient and states."""
    return {key: parameter.attrs[key] for key in ("towers", "place") if key in parameter.attrs}


def _clipped(graph: Graph, trained: list[Op], grads: Mapping[str, str]) -> tuple[list[Op], dict[str, str]]:
    """Ops that clip the gradients, and the names of what comes out."""
    squares, clips, clipped = [], [], {}
    total = "square_sum" if len(trained) > 1 else f"{trained[0].name}.square_sum"
    for op in trained:
        where = (None, op.layer, op.location)
        square = Result(f"{op.name}.square_sum", TensorType("f32", ()))
        squares.append(Op("square_sum", (grads[op.name],), (square,), _shared(op), *where))
        attrs = {"limit": graph.attrs["clip"], **_shared(op)}
        clipped[op.name] = f"{op.name}.clipped"
        result = Result(clipped[op.name], graph.type(op.name))
        clips.append(Op("clip", (grads[op.name], total), (result,), attrs, *where))
    if len(trained) > 1:
        squares.append(Op("sum", tuple(op.name for op in squares), (Result(total, TensorType("f32", ())),), {}))
    return [*squares, *clips], clipped


def _woven(graph: Graph, clips: list[Op], updates: list[Op], grads: Mapping[str, str]) -> list[Op]:
    """The graph's ops with each update as early as may be, so that gradients die young: after its gradient and after
    the last reader of the weight, which it overwrites."""
    ops = [*graph.ops, *clips]
    position = {r.name: i for i, op in enumerate(ops) for r in op.results}
    position_of = {id(op): i for i, op in enumerate(ops)}
    after: dict[int, list[Op]] = {}
    for update in updates:
        readers = [position_of[id(op)] for op in graph.users[update.operands[0]]]
        after.setdefault(max(position[grads[update.operands[0]]], *readers), []).append(update)
    woven: list[Op] = []
    for i, op in enumerate(ops):
        woven += [op, *after.get(i, ())]
    return woven
