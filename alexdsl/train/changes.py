"""What a run that is resumed under another spec makes of each difference: taken over, ignored or refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from alexdsl.ir.graph import Op
from alexdsl.spec import Spec

OWN = ("place", "stream")
"""Attributes that follow from others, or say where and not what."""


@dataclass(frozen=True)
class Change:
    """A difference between the spec that a checkpoint was written under and the one that it is resumed under."""

    what: str
    before: Any
    now: Any
    verdict: str = "taken over"

    @property
    def refused(self) -> bool:
        return self.verdict.startswith("refused")

    def __str__(self) -> str:
        return f"{self.what}: {_text(self.before)} in the checkpoint, {_text(self.now)} in the net, {self.verdict}"


def changes(before: Spec, now: Spec) -> list[Change]:
    """All differences in meaning. Other layouts of the same text are none."""
    return [*_solver(before, now), *_data(before, now), *_net(before, now)]


def _solver(before: Spec, now: Spec) -> Iterator[Change]:
    old, new = before.solver, now.solver
    if old.kind != new.kind:
        yield Change("solver", old.kind, new.kind, "refused: each keeps states of its own (--init-from takes weights)")
        return
    yield from _pairs("solver", old.attrs, new.attrs)
    rest = [f.name for f in fields(old) if f.name not in ("kind", "attrs")]
    yield from _pairs("solver", {n: getattr(old, n) for n in rest}, {n: getattr(new, n) for n in rest})


def _data(before: Spec, now: Spec) -> Iterator[Change]:
    old, new = before.data, now.data
    if old is None or new is None:
        return
    for name in (f.name for f in fields(old) if f.name != "classes"):
        verdict = "refused: what images a step sees follows from it" if name == "batch" else "taken over"
        if getattr(old, name) != getattr(new, name):
            yield Change(f"data.{name}", getattr(old, name), getattr(new, name), verdict)


def _net(before: Spec, now: Spec) -> Iterator[Change]:
    old, new = ({op.name: op for op in spec.shaped} for spec in (before, now))
    for name in dict.fromkeys((*old, *new)):
        mine, theirs = old.get(name), new.get(name)
        op = mine or theirs
        assert op is not None
        if op.kind in ("parameter", "state"):
            yield from _array(name, before, now, mine, theirs)
        elif mine is None or theirs is None:
            yield Change(name, mine and mine.kind, theirs and theirs.kind)
        elif mine.kind != theirs.kind or mine.operands != theirs.operands:
            yield Change(name, _call(mine), _call(theirs))
        else:
            yield from _pairs(name, mine.attrs, theirs.attrs)


def _array(name: str, before: Spec, now: Spec, mine: Op | None, theirs: Op | None) -> Iterator[Change]:
    """What differs about a weight or state: shapes have to agree, first values do not matter any more."""
    shapes = [list(spec.shaped.type(name).shape) if op else None for spec, op in ((before, mine), (now, theirs))]
    if shapes[0] != shapes[1]:
        yield Change(name, shapes[0], shapes[1], "refused: its numbers would not fit (--init-from takes those that do)")
    if mine is None or theirs is None:
        return
    if mine.attrs.get("init") != theirs.attrs.get("init"):
        yield Change(f"{name}: first values", mine.attrs["init"], theirs.attrs["init"], "ignored: it has been trained")
    kind = now.registry.solvers[now.solver.kind]
    for rate in kind.rates:
        pair = mine.attrs.get(rate), theirs.attrs.get(rate)
        if pair[0] != pair[1] and pair != (before.solver.attrs.get(rate), now.solver.attrs.get(rate)):
            yield Change(f"{name}: {rate}", *pair)


def _pairs(where: str, old: Any, new: Any) -> Iterator[Change]:
    for name in dict.fromkeys((*old, *new)):
        if name not in OWN and old.get(name) != new.get(name):
            yield Change(f"{where}.{name}", old.get(name), new.get(name))


def _call(op: Op) -> str:
    return f"{op.kind}({', '.join(op.operands)})"


def _text(value: Any) -> str:
    """A value as a spec would say it, more or less."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], dict):
        return f"{value[0]}({', '.join(f'{n} = {_text(v)}' for n, v in value[1].items() if n != 'rises')})"
    if isinstance(value, dict) and "kind" in value:
        return f"{value['kind']}({', '.join(_text(v) for n, v in value.items() if n != 'kind')})"
    return str(value)
