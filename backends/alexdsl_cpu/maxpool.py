"""Max pooling on the CPU: every window looks for its winner, every input pixel gathers what it won."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl.layers.window import Axis, pool_axes
from alexdsl_cpu.dialect import F2, F3, F4, U3, U4, Function, f32
from alexdsl_cpu.offer import Call, Constants, Offer, head_attrs, is_tail, retyped, tail, with_extra


@kernel
def max_row(x: F3, oy, y: F2, index: F2, *, KH, KW, SH, SW, TOP, LEFT):
    """Output row ``oy`` of an image: the largest pixel of every window and its place; the first of equals, or NaN."""
    height, width, channels = x.shape
    top = oy * SH - TOP
    above, below = max(0, -top), min(KH, height - top)
    for ox in range(y.shape[0]):
        best, place = y[ox], index[ox]
        left = ox * SW - LEFT
        if top >= 0 and top + KH <= height and left >= 0 and left + KW <= width:
            # Constant bounds: the taps are unrolled, and the loop over channels is one of vectors.
            for c in range(channels):
                value, at = x[top, left, c], np.int32(0)
                for i in range(KH):
                    for j in range(KW):
                        other = x[top + i, left + j, c]
                        larger = other > value or other != other
                        at = np.int32(i * KW + j) if larger else at
                        value = other if larger else value
                best[c] = value
                place[c] = at
        else:
            before, behind = max(0, -left), min(KW, width - left)
            for c in range(channels):
                best[c] = x[top + above, left + before, c]
                place[c] = above * KW + before
            for i in range(above, below):
                for j in range(before, behind):
                    source, mine = x[top + i, left + j], np.int32(i * KW + j)
                    for c in range(channels):
                        larger = source[c] > best[c] or source[c] != source[c]
                        place[c] = mine if larger else np.int32(place[c])
                        best[c] = source[c] if larger else best[c]


@kernel
def max_row_grad(dy: F3, index: U3, iy, dx: F2, *, KH, KW, SH, SW, TOP, LEFT):
    """Input row ``iy`` of an image: every pixel looks at the windows that hold it."""
    height, width, channels = dy.shape
    top, bottom = max(0, (iy + TOP - KH + SH) // SH), min(height, (iy + TOP) // SH + 1)
    for ix in range(dx.shape[0]):
        target = dx[ix]
        for c in range(channels):
            target[c] = f32(0.0)
        left, right = max(0, (ix + LEFT - KW + SW) // SW), min(width, (ix + LEFT) // SW + 1)
        for oy in range(top, bottom):
            for ox in range(left, right):
                mine = np.int32((iy + TOP - oy * SH) * KW + ix + LEFT - ox * SW)
                grad, place = dy[oy, ox], index[oy, ox]
                for c in range(channels):
                    target[c] += grad[c] if np.int32(place[c]) == mine else f32(0.0)


@kernel
def maxpool(lo: int, hi: int, slot: int, x: F4, y: F4, index: U4, *, KH, KW, SH, SW, TOP, LEFT):
    """The largest pixel of every window, and which one it was; a unit is a row of windows."""
    height = y.shape[1]
    for unit in range(lo, hi):
        n, oy = unit // height, unit % height
        max_row(x[n], oy, y[n, oy], index[n, oy])


@kernel
def maxpool_grad(
    lo: int, hi: int, slot: int, dy: F4, index: U4, other: F4, dx: F4, *, EPILOGUE: Function, KH, KW, SH, SW, TOP,
    LEFT,
):  # fmt: skip
    """dx = EPILOGUE(what the pixel won); a unit is a row of pixels."""
    height, width, channels = dx.shape[1:]
    for unit in range(lo, hi):
        n, iy = unit // height, unit % height
        max_row_grad(dy[n], index[n], iy, dx[n, iy])
        row, extra = dx[n, iy].reshape(width * channels), other[n, iy].reshape(width * channels)
        for i in range(width * channels):
            row[i] = EPILOGUE(row[i], extra[i])


def pool_constants(rows: Axis, columns: Axis) -> Constants:
    """The window's constants, as pooling reads them."""
    return {
        "KH": rows.kernel, "KW": columns.kernel, "SH": rows.stride, "SW": columns.stride,
        "TOP": rows.before, "LEFT": columns.before,
    }  # fmt: skip


class MaxPool(Offer):
    """``maxpool``, and ``maxpool_grad`` with an epilogue of elementwise kinds with at most one further operand."""

    heads = ("maxpool", "maxpool_grad")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and chain[0].name == "maxpool_grad" and is_tail(chain[1:])

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names = [f"%{name}" for name in op.operands]
        made = [f"%{r.name}" for r in op.results]
        attrs = head_attrs(op)
        if op.kind == "maxpool":
            constants = pool_constants(*pool_axes(operands[0].shape, attrs))
            function = retyped(maxpool, index=index_type(results[1].dtype))
            return [Call(function, (*names, *made), results[0].shape[0] * results[0].shape[2], constants)]
        constants = pool_constants(*pool_axes(results[0].shape, attrs))
        epilogue = tail(op, self.registry)
        other = names[-1] if len(epilogue.args) == 2 else made[0]
        function = retyped(maxpool_grad, index=index_type(operands[1].dtype))
        units = results[0].shape[0] * results[0].shape[2]
        return [Call(function, (*names[:2], other, *made), units, {**constants, "EPILOGUE": with_extra(epilogue)})]


def index_type(dtype: str) -> str:
    """What kernels call maps of places in windows."""
    return {"u8": "U4", "i32": "I4"}[dtype]
