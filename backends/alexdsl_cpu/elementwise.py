"""Elementwise ops of any kind: one flat kernel, generated around their scalar functions."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl_cpu.dialect import CPU, F1, Function
from alexdsl_cpu.offer import Call, Offer, is_tail, whole_chain, with_extra

BLOCK = 4096
"""Elements of one unit of work: 16 KiB of each array."""


@kernel
def elementwise(lo: int, hi: int, slot: int, x: F1, other: F1, y: F1, *, BLOCK, FUNCTION: Function):
    """y = FUNCTION(x, other), element by element."""
    first, last = lo * BLOCK, min(hi * BLOCK, y.size)
    # Loops over views from 0 on become vectors: of any other index a compiled kernel asks whether it is negative.
    source, extra, target = x[first:last], other[first:last], y[first:last]
    for i in range(last - first):
        target[i] = FUNCTION(source[i], extra[i])


class Elementwise(Offer):
    """Any chain of kinds with a ``scalar``, with at most one operand beside the value that flows through."""

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and is_tail(chain)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        function = with_extra(whole_chain(op, self.registry, CPU))
        x, other = f"%{op.operands[0]}", f"%{op.operands[-1]}"
        units = -(-results[0].elements // BLOCK)
        return [Call(elementwise, (x, other, f"%{op.name}"), units, {"BLOCK": BLOCK, "FUNCTION": function}, grain=16)]
