"""Sums of any number of values on CUDA: up to four in one pass."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import Scalar, kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl_cuda.dialect import F1, Function, cuda, float32, uint32
from alexdsl_cuda.offer import Call, Constants, Offer, is_tail, rows_of, tail, with_extra
from alexdsl_cuda.quads import flat, read, size_of, thread, write

TERMS = 4
"""Values that one pass adds."""
SAME = Scalar(("v", "_"), (), "v")
"""The epilogue that changes nothing."""


@kernel
def join_sum(total, term, array, at, *, SIZE):
    """total += SIZE floats of an array."""
    read(term, array, at)
    for i in range(SIZE):
        total[i] += term[i]


@kernel
def add(
    a: F1, b: F1, c: F1, d: F1, other: F1, y: F1, count: int, *, SIZE, TERMS, EPILOGUE: Function,
) -> None:  # fmt: skip
    """y = EPILOGUE(a + b + ...), the first TERMS from left to right; a thread makes SIZE numbers. y may be any term."""
    t = thread()
    if t < uint32(count):
        at = uint32(t * SIZE)
        total = cuda.local.array(SIZE, float32)
        term = cuda.local.array(SIZE, float32)
        extra = cuda.local.array(SIZE, float32)
        read(total, a, at)
        join_sum(total, term, b, at)
        if TERMS > 2:
            join_sum(total, term, c, at)
        if TERMS > 3:
            join_sum(total, term, d, at)
        read(extra, other, at)
        for i in range(SIZE):
            total[i] = EPILOGUE(total[i], extra[i])
        write(y, at, total)


def sum_calls(names: Sequence[str], y: str, elements: int, epilogue: Scalar = SAME, other: str = "") -> list[Call]:
    """The calls that add two or more values into ``y``, which may be the first of them."""
    calls, size, rest = [], size_of(elements), list(names)
    while rest:
        terms, rest = rest[:TERMS], rest[TERMS:]
        constants: Constants = {"SIZE": size, "TERMS": len(terms), "EPILOGUE": SAME if rest else with_extra(epilogue)}
        args = (*terms, *[terms[0]] * (TERMS - len(terms)), other or y, y)
        calls.append(flat(add, args, elements // size, constants))
        rest = [y, *rest] if rest else []
    return calls


class Add(Offer):
    """``add``, from left to right; an epilogue takes elementwise kinds with at most one further operand."""

    heads = ("add",)

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and is_tail(chain[1:])

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        same = rows_of(results[0])
        return [same] * len(operands), [same]

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names, y = [f"%{name}" for name in op.operands], f"%{op.name}"
        epilogue = tail(op, self.registry)
        other = names.pop() if len(epilogue.args) == 2 else y
        return sum_calls(names, y, results[0].elements, epilogue, other)
