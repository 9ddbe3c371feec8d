"""What any op means, whole or cut into towers, single or fused: its types, its cost and its reference value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.protocol import PARTIAL, WHOLE, Array, Cut, OpKind, Registry, ShapeError, Types
from alexdsl.ir.types import TensorType

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """One member of a fused op; its operand ``flow`` is the step's before, ``operands`` counts all of its own."""

    kind: str
    attrs: Attrs
    operands: int
    results: int


def steps(attrs: Attrs) -> list[Step]:
    """The members of a fused op (``conv+relu``) in order."""
    return [Step(s["kind"], s["attrs"], s["operands"], s["results"]) for s in attrs["steps"]]


def fuse_ops(chain: Sequence[Op], keep: Iterable[str], registry: Registry) -> Op:
    """One op for a chain in which each op's operand ``flow`` is the first result of the op before.

    ``keep`` names the results that others still read; the last op's results are always kept.
    """
    kept = set(keep) | {r.name for r in chain[-1].results}
    members: list[Attrs] = []
    operands: list[str] = []
    results = []
    for position, op in enumerate(chain):
        flow = registry[op.kind].flow if position else None
        operands += [name for i, name in enumerate(op.operands) if i != flow]
        members.append(
            {"kind": op.kind, "attrs": dict(op.attrs), "operands": len(op.operands), "results": len(op.results)}
        )
        results += [(f"{position}.{i}", r) for i, r in enumerate(op.results) if r.name in kept]
    attrs = {"steps": tuple(members), "keep": tuple(key for key, _ in results)}
    last = chain[-1]
    kind = "+".join(op.kind for op in chain)
    return Op(kind, tuple(operands), tuple(r for _, r in results), attrs, last.device, last.layer, last.location)


def tower_part(value: Cut, index: int, towers: int, size: int, what: str) -> slice:
    """The index range of one tower along a cut axis of ``size``."""
    if size % towers:
        raise ShapeError(f"{what} has {size} channels, which {towers} towers cannot share equally")
    part = size // towers
    return slice(index * part, (index + 1) * part)


def cut_type(type: TensorType, cut: Cut, towers: int) -> TensorType:
    """One tower's part of a value of this type."""
    if not isinstance(cut, int):
        return type
    shape = list(type.shape)
    part = tower_part(cut, 0, towers, shape[cut], str(type))
    shape[cut] = part.stop
    return type.with_shape(*shape)


def join_type(type: TensorType, cut: Cut, towers: int) -> TensorType:
    """The whole of which ``type`` is one tower's part."""
    if not isinstance(cut, int):
        return type
    shape = list(type.shape)
    shape[cut] *= towers
    return type.with_shape(*shape)


@dataclass(frozen=True)
class Semantics:
    """Types, costs and reference values of ops over a registry's kinds."""

    registry: Registry

    def kinds(self, kind: str) -> list[OpKind]:
        """The kinds that an op is made of. Raises KeyError for an unknown one."""
        return [self.registry[name] for name in kind.split("+")]

    def one_tower(self, op_kind: str, types: Types, attrs: Attrs) -> tuple[Types, Attrs]:
        """The operand types and attributes of one tower's share."""
        towers = attrs["towers"]
        kind = self.registry[op_kind]
        operand_cuts, _ = kind.cuts(types, attrs)
        cut = [cut_type(t, c, towers) for t, c in zip(types, operand_cuts, strict=True)]
        return cut, self.tower_attrs(op_kind, attrs)

    def tower_attrs(self, op_kind: str, attrs: Attrs, tower: int = 0) -> Attrs:
        """The attributes of one tower's share of an op."""
        share = self.registry[op_kind].tower_attrs(attrs, attrs["towers"], tower)
        return {k: v for k, v in share.items() if k not in ("towers", "sees")}

    def infer(self, kind: str, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        """The types of an op's results. Raises ShapeError."""
        if "+" in kind:
            return self._chain(types, attrs, lambda s, given: list(self.infer(s.kind, given, s.attrs)))
        op_kind = self.registry[kind]
        if attrs.get("towers", 1) == 1:
            return op_kind.infer(types, attrs)
        cut, tower_attrs = self.one_tower(kind, types, attrs)
        results = op_kind.infer(cut, tower_attrs)
        _, result_cuts = op_kind.cuts(types, attrs)
        return [join_type(t, c, attrs["towers"]) for t, c in zip(results, result_cuts, strict=True)]

    def multiply_adds(self, kind: str, types: Types, attrs: Attrs) -> int:
        """Multiply-adds of an op, all towers together."""
        if "+" in kind:
            total = 0

            def count(s: Step, given: list[TensorType]) -> list[TensorType]:
                nonlocal total
                total += self.multiply_adds(s.kind, given, s.attrs)
                return list(self.infer(s.kind, given, s.attrs))

            self._chain(types, attrs, count)
            return total
        towers: int = attrs.get("towers", 1)
        if towers == 1:
            return self.registry[kind].multiply_adds(types, attrs)
        cut, tower_attrs = self.one_tower(kind, types, attrs)
        return towers * self.registry[kind].multiply_adds(cut, tower_attrs)

    def reference(self, kind: str, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        """The values of an op's results, tower by tower, step by step."""
        if "+" in kind:
            return self._chain(arrays, attrs, lambda s, given: list(self.reference(s.kind, given, s.attrs)))
        op_kind = self.registry[kind]
        towers = attrs.get("towers", 1)
        if towers == 1:
            return op_kind.reference(arrays, attrs)
        types = [TensorType("f32", a.shape) for a in arrays]
        operand_cuts, result_cuts = op_kind.cuts(types, attrs)
        parts = [
            op_kind.reference(
                [_cut(a, c, t, towers) for a, c in zip(arrays, operand_cuts, strict=True)],
                self.tower_attrs(kind, attrs, t),
            )
            for t in range(towers)
        ]
        return [_join([p[i] for p in parts], cut) for i, cut in enumerate(result_cuts)]

    def _chain(self, values: Sequence[T], attrs: Attrs, run: Callable[[Step, list[T]], list[T]]) -> list[T]:
        rest = list(values)
        made: dict[str, T] = {}
        last: list[T] = []
        for position, step in enumerate(steps(attrs)):
            count = step.operands - (1 if position else 0)
            given, rest = rest[:count], rest[count:]
            if position:
                given.insert(self.registry[step.kind].flow, last[0])
            last = run(step, given)
            made.update({f"{position}.{i}": value for i, value in enumerate(last)})
        return [made[key] for key in attrs["keep"]]


def _cut(array: Array, cut: Cut, tower: int, towers: int) -> Array:
    if not isinstance(cut, int):
        return array
    index = [slice(None)] * array.ndim
    index[cut] = tower_part(cut, tower, towers, array.shape[cut], "a value")
    return array[tuple(index)]


def _join(parts: list[Array], cut: Cut) -> Array:
    if cut is WHOLE:
        return parts[0]
    if cut == PARTIAL:
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total
    assert isinstance(cut, int)
    return np.concatenate(parts, cut)
