"""Average pooling on the CPU: every window sums its pixels, every pixel gathers its shares."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl.layers.window import pool_axes
from alexdsl_cpu.dialect import F4, LANES, Function, f32, fill, load_some, store_some
from alexdsl_cpu.maxpool import pool_constants
from alexdsl_cpu.offer import Call, Offer, head_attrs, is_tail, tail, with_extra


@kernel
def counted(start, kernel, size, before, after, padded):
    """How many pixels of a window that starts at pixel ``start`` of an axis the mean counts."""
    if padded:
        return min(start + kernel, size + after) - max(start, -before)
    return min(start + kernel, size) - max(start, 0)


@kernel
def avgpool(lo: int, hi: int, slot: int, x: F4, y: F4, *, KH, KW, SH, SW, TOP, LEFT, BOTTOM, RIGHT, PADDED):
    """The mean of every window; a unit is a row of windows."""
    height, width, channels = x.shape[1:]
    flat, means = x.reshape(x.size), y.reshape(y.size)
    for unit in range(lo, hi):
        n, oy = unit // y.shape[1], unit % y.shape[1]
        top = oy * SH - TOP
        for ox in range(y.shape[2]):
            left = ox * SW - LEFT
            rows, columns = counted(top, KH, height, TOP, BOTTOM, PADDED), counted(left, KW, width, LEFT, RIGHT, PADDED)
            share, target = f32(1.0) / f32(rows * columns), ((n * y.shape[1] + oy) * y.shape[2] + ox) * channels
            for c in range(0, channels, LANES):
                lanes, total = min(LANES, channels - c), fill(f32(0.0))
                for iy in range(max(0, top), min(top + KH, height)):
                    for ix in range(max(0, left), min(left + KW, width)):
                        total = total + load_some(flat, ((n * height + iy) * width + ix) * channels + c, lanes)
                store_some(means, target + c, total * share, lanes)


@kernel
def avgpool_grad(
    lo: int, hi: int, slot: int, dy: F4, other: F4, dx: F4, *, KH, KW, SH, SW, TOP, LEFT, BOTTOM, RIGHT, PADDED,
    EPILOGUE: Function,
):  # fmt: skip
    """dx = EPILOGUE(the sum of the shares of all windows that hold the pixel); a unit is a row of pixels."""
    height, width, channels = dx.shape[1:]
    for unit in range(lo, hi):
        n, iy = unit // height, unit % height
        row, extra = dx[n, iy].reshape(width * channels), other[n, iy].reshape(width * channels)
        for i in range(width * channels):
            row[i] = f32(0.0)
        for oy in range(max(0, (iy + TOP - KH + SH) // SH), min(dy.shape[1], (iy + TOP) // SH + 1)):
            rows = counted(oy * SH - TOP, KH, height, TOP, BOTTOM, PADDED)
            for ox in range(dy.shape[2]):
                left = ox * SW - LEFT
                grad, share = dy[n, oy, ox], f32(1.0) / f32(rows * counted(left, KW, width, LEFT, RIGHT, PADDED))
                for ix in range(max(0, left), min(left + KW, width)):
                    target = dx[n, iy, ix]
                    for c in range(channels):
                        target[c] += grad[c] * share
        # By itself: a pixel of few channels is too short to be done in vectors, a row of them is not.
        for i in range(width * channels):
            row[i] = EPILOGUE(row[i], extra[i])


class AvgPool(Offer):
    """``avgpool`` and its gradient; the gradient's epilogue takes at most one further operand."""

    heads = ("avgpool", "avgpool_grad")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and chain[0].name == "avgpool_grad" and is_tail(chain[1:])

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names, made, attrs = [f"%{name}" for name in op.operands], f"%{op.name}", head_attrs(op)
        rows, columns = pool_axes(operands[0].shape if op.kind == "avgpool" else results[0].shape, attrs)
        padded = {"BOTTOM": rows.after, "RIGHT": columns.after, "PADDED": attrs["count"] == "padded"}
        constants = {**pool_constants(rows, columns), **padded}
        units = results[0].shape[0] * results[0].shape[2]
        if op.kind == "avgpool":
            return [Call(avgpool, (*names, made), units, constants)]
        epilogue = tail(op, self.registry)
        other = names[-1] if len(epilogue.args) == 2 else made
        return [Call(avgpool_grad, (names[0], other, made), units, {**constants, "EPILOGUE": with_extra(epilogue)})]
