"""Cuts a batch into slices for memory: each goes forward and back by itself, and the gradients add up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from alexdsl.ir.graph import Attrs, Graph, Op, Result
from alexdsl.ir.protocol import LayerKind, Registry, ShapeError
from alexdsl.ir.structure import LEAVES

_SHARED = ("towers", "place", "cut")
"""What the additions of a weight's gradients take over from the sum that they stand for."""


def cut_batch(graph: Graph, registry: Registry) -> Graph:
    """parsed -> parsed: the forward net once for every slice, on inputs of its own; loss and metrics are their means.

    A slice's input is the rows ``rows`` = (first, after the last) of the batch, and what draws numbers knows which
    images it has. Nothing changes where the graph's ``slices`` is 1.
    """
    slices, batch = graph.attrs.get("slices", 1), graph.attrs["batch"]
    if slices == 1:
        return graph
    if batch % slices:
        raise ShapeError(f"slices = {slices} does not divide the batch of {batch}")
    ops = [op for op in graph if op.kind in ("parameter", "state") or not _by_image(op)]
    whole = {op.name for op in ops}
    for number in range(slices):
        first, last = (batch // slices * n for n in (number, number + 1))
        for op in graph:
            if op.name in whole:
                continue
            kind = registry[op.kind]
            changes: Attrs = {"rows": (first, last)} if op.kind == "input" else {}
            changes = {"first": first} if isinstance(kind, LayerKind) and kind.random else changes
            operands = tuple(name if name in whole else _named(number, name) for name in op.operands)
            results = tuple(replace(r, name=_named(number, r.name)) for r in op.results)
            ops.append(replace(op, operands=operands, results=results).with_attrs(**changes))
    # Scores belong to images: what a step reports is one number for the whole batch.
    outputs = {label: name for label, name in graph.outputs.items() if label != "logits"}
    for name in dict.fromkeys(outputs.values()):
        made = graph.producers[name]
        parts = tuple(_named(number, name) for number in range(slices))
        ops.append(Op("mean", parts, (Result(name),), {}, None, made.layer, made.location))
    return graph.with_ops(ops, outputs=outputs)


def _by_image(op: Op) -> bool:
    """Whether an op's value has a part for every image; the step's number and the schedule's factor have none."""
    return not (op.kind == "input" and op.attrs["field"] in ("step", "rate"))


def _named(number: int, name: str) -> str:
    return f"slice{number + 1}.{name}"


def interleave(graph: Graph) -> Graph:
    """differentiated -> differentiated: a slice's backward pass right after its forward pass, so that its values are
    gone before the next begins; a gradient that all slices share is added up slice by slice, in their order."""
    slices = graph.attrs.get("slices", 1)
    if slices == 1:
        return graph
    of: dict[str, frozenset[int]] = {}
    starts = sorted({op.attrs["rows"][0] for op in graph if "rows" in op.attrs})
    rounds: list[list[Op]] = [[] for _ in range(slices)]
    before: list[Op] = []
    after: list[Op] = []
    sums: list[Op] = []
    for op in graph:
        own = frozenset([starts.index(op.attrs["rows"][0])]) if "rows" in op.attrs else frozenset[int]()
        mine = own.union(*(of[name] for name in op.operands))
        of.update((r.name, mine) for r in op.results)
        if op.kind in LEAVES or not mine:
            before.append(op)
        elif len(mine) == 1:
            rounds[min(mine)].append(op)
        elif op.kind == "sum":
            sums.append(op)
        else:
            after.append(op)
    middle = [op for ops in rounds for op in ops]
    made = {r.name: i for i, op in enumerate(middle) for r in op.results}
    # An addition as soon as may be, so that a slice's gradients die young.
    additions: dict[int, list[Op]] = {}
    for addition in (addition for op in sums for addition in _added(op, of)):
        at = max(made[name] for name in addition.operands)
        made[addition.name] = at
        additions.setdefault(at, []).append(addition)
    woven = [each for i, op in enumerate(middle) for each in (op, *additions.get(i, ()))]
    return graph.with_ops([*before, *woven, *after])


def _added(op: Op, of: Mapping[str, frozenset[int]]) -> Iterator[Op]:
    """A sum over slices as one addition a slice, in their order."""
    attrs = {key: op.attrs[key] for key in _SHARED if key in op.attrs}
    by_slice: dict[int, list[str]] = {}
    for name in op.operands:
        by_slice.setdefault(min(of[name]), []).append(name)
    (result,) = op.results
    total = ""
    for at, names in sorted(by_slice.items()):
        part = names[0]
        if len(names) > 1:
            part = f"{result.name}.part_{at + 1}"
            yield replace(op, operands=tuple(names), results=(replace(result, name=part),))
        if total:
            name = result.name if at == max(by_slice) else f"{result.name}.upto_{at + 1}"
            results = (replace(result, name=name),)
            yield replace(op, kind="accumulate", operands=(total, part), results=results, attrs=attrs)
            part = name
        total = part
