"""Elementwise ops of any kind: one flat kernel, generated around their scalar functions."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl_cuda.dialect import CUDA, F1, Function, cuda, float32, uint32
from alexdsl_cuda.offer import Call, Offer, is_tail, whole_chain, with_extra
from alexdsl_cuda.quads import flat, read, thread, write


@kernel
def elementwise(x: F1, other: F1, y: F1, elements: int, count: int, *, SIZE, FUNCTION: Function) -> None:
    """y = FUNCTION(x, other); a thread makes SIZE elements, the last of ``count`` what is left of them."""
    t = thread()
    if t < uint32(count):
        at = uint32(t * SIZE)
        if uint32(at + SIZE) <= uint32(elements):
            value = cuda.local.array(SIZE, float32)
            extra = cuda.local.array(SIZE, float32)
            read(value, x, at)
            read(extra, other, at)
            for i in range(SIZE):
                value[i] = FUNCTION(value[i], extra[i])
            write(y, at, value)
        else:
            while at < uint32(elements):
                y[at] = FUNCTION(x[at], other[at])
                at = uint32(at + 1)


class Elementwise(Offer):
    """Any chain of kinds with a ``scalar``, with at most one operand beside the value that flows through."""

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and is_tail(chain)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        function = with_extra(whole_chain(op, self.registry, CUDA))
        elements = results[0].elements
        args = (f"%{op.operands[0]}", f"%{op.operands[-1]}", f"%{op.name}", elements)
        return [flat(elementwise, args, -(-elements // 4), {"SIZE": 4, "FUNCTION": function})]
