"""Clipping by global norm on the CPU: sums of squares by blocks, added in order; then every gradient is scaled."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Types
from alexdsl_cpu.dialect import F1, f32
from alexdsl_cpu.offer import Call, Offer, padded

BLOCK = 4096


@kernel
def squares(lo: int, hi: int, slot: int, x: F1, work: F1, *, BLOCK):
    """The sum of the squares of every block of x."""
    for block in range(lo, hi):
        part = x[block * BLOCK : min((block + 1) * BLOCK, x.size)]
        total = f32(0.0)
        for i in range(part.size):
            total += part[i] * part[i]
        work[block] = total


@kernel
def total(lo: int, hi: int, slot: int, work: F1, y: F1, blocks: int):
    """y = the sum of the blocks' sums."""
    found = 0.0
    for block in range(blocks):
        found += work[block]
    y[0] = found


@kernel
def clip(lo: int, hi: int, slot: int, x: F1, square_sum: F1, limit: float, *, BLOCK):
    """x *= limit / norm, where the norm is more than that or no number."""
    norm = math.sqrt(square_sum[0])
    if not norm <= limit:
        factor, part = limit / norm, x[lo * BLOCK : min(hi * BLOCK, x.size)]
        for i in range(part.size):
            part[i] *= factor


class Clip(Offer):
    """``square_sum`` and ``clip``, the latter in place."""

    heads = ("square_sum", "clip")

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        same = operands[0].layout
        return ([same], [""]) if op.kind == "square_sum" else ([same, ""], [same])

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        return (Strategy("", 4 * padded(-(-operands[0].elements // BLOCK)) if op.kind == "square_sum" else 0),)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names, blocks = [f"%{name}" for name in op.operands], -(-operands[0].elements // BLOCK)
        if op.kind == "clip":
            return [Call(clip, (*names, float(op.attrs["limit"])), blocks, {"BLOCK": BLOCK}, grain=16)]
        each = Call(squares, (names[0], "workspace"), blocks, {"BLOCK": BLOCK}, grain=16)
        return [each, Call(total, ("workspace", f"%{op.name}", blocks), 1)]
