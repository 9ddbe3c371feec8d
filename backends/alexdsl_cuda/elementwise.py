"""Elementwise ops of any kind: one flat kernel, generated around their scalar functions."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl_cuda.dialect import CUDA, F1, Function, cuda, int32
from alexdsl_cuda.offer import Call, Offer, blocks, extras, scalars, whole_chain, with_extra


@kernel
def elementwise(x: F1, other: F1, y: F1, count: int, *, FUNCTION: Function) -> None:
    """y = FUNCTION(x, other), a thread an element."""
    at = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if at < count:
        y[at] = FUNCTION(x[at], other[at])


class Elementwise(Offer):
    """Any chain of kinds with a ``scalar``, with at most one operand beside the value that flows through."""

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and scalars(chain) and extras(chain) <= 1

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        function = with_extra(whole_chain(op, self.registry, CUDA))
        count = results[0].elements
        x, other = f"%{op.operands[0]}", f"%{op.operands[-1]}"
        return [Call(elementwise, (x, other, f"%{op.name}", count), blocks(count), {"FUNCTION": function})]
