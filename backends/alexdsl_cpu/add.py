"""Sums of any number of values on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl_cpu.dialect import F1, Function
from alexdsl_cpu.offer import Call, Constants, Offer, is_tail, rows_of, tail, with_extra
from alexdsl_cpu.structure import BLOCK
from alexdsl_cpu.structure import add as plain


@kernel
def add(lo: int, hi: int, slot: int, x: F1, a: F1, other: F1, y: F1, *, BLOCK, EPILOGUE: Function):
    """y = EPILOGUE(x + a); x may be y."""
    first, last = lo * BLOCK, min(hi * BLOCK, y.size)
    left, right, extra, out = x[first:last], a[first:last], other[first:last], y[first:last]
    for i in range(last - first):
        out[i] = EPILOGUE(left[i] + right[i], extra[i])


class Add(Offer):
    """``add`` and the IR's ``sum``, from left to right; an epilogue takes elementwise kinds with at most one further
    operand."""

    heads = ("add", "sum")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and is_tail(chain[1:])

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        # Gradients of weights are added up too, as they lie.
        same = operands[0].layout if op.kind == "sum" else rows_of(results[0])
        return [same] * len(operands), [same]

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names, y = [f"%{name}" for name in op.operands], f"%{op.name}"
        epilogue = tail(op, self.registry)
        other = names.pop() if len(epilogue.args) == 2 else y
        units = -(-results[0].elements // BLOCK)
        sums = [(names[0], names[1]), *((y, name) for name in names[2:])]
        calls = [Call(plain, (*pair, y, 1.0), units, {"BLOCK": BLOCK}, grain=16) for pair in sums[:-1]]
        last: Constants = {"BLOCK": BLOCK, "EPILOGUE": with_extra(epilogue)}
        return [*calls, Call(add, (*sums[-1], other, y), units, last, grain=16)]
