"""Global average pooling on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl_cpu.dialect import F2, F4, Function, f32
from alexdsl_cpu.offer import Call, Offer, is_tail, tail, with_extra


@kernel
def global_avgpool(lo: int, hi: int, slot: int, x: F4, y: F2):
    """The mean of every map; a unit is an image."""
    height, width, channels = x.shape[1:]
    share = f32(1.0) / f32(height * width)
    for n in range(lo, hi):
        target = y[n]
        for c in range(channels):
            target[c] = f32(0.0)
        for iy in range(height):
            for ix in range(width):
                source = x[n, iy, ix]
                for c in range(channels):
                    target[c] += source[c]
        for c in range(channels):
            target[c] *= share


@kernel
def global_avgpool_grad(lo: int, hi: int, slot: int, dy: F2, other: F4, dx: F4, *, EPILOGUE: Function):
    """dx = EPILOGUE(the mean's share of every pixel); a unit is a row of pixels."""
    height, width, channels = dx.shape[1:]
    share = f32(1.0) / f32(height * width)
    for unit in range(lo, hi):
        n, iy = unit // height, unit % height
        grad = dy[n]
        for ix in range(width):
            target, extra = dx[n, iy, ix], other[n, iy, ix]
            for c in range(channels):
                target[c] = EPILOGUE(grad[c] * share, extra[c])


class GlobalAvgPool(Offer):
    """``global_avgpool`` and its gradient; the gradient's epilogue takes at most one further operand."""

    heads = ("global_avgpool", "global_avgpool_grad")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and chain[0].name == "global_avgpool_grad" and is_tail(chain[1:])

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names, made = [f"%{name}" for name in op.operands], f"%{op.name}"
        if op.kind == "global_avgpool":
            return [Call(global_avgpool, (*names, made), operands[0].shape[0])]
        epilogue = tail(op, self.registry)
        other = names[-1] if len(epilogue.args) == 2 else made
        units = results[0].shape[0] * results[0].shape[2]
        return [Call(global_avgpool_grad, (names[0], other, made), units, {"EPILOGUE": with_extra(epilogue)}, grain=4)]
