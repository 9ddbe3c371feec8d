"""Average pooling on CUDA: every window sums its pixels, every pixel gathers its shares."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl.layers.window import pool_axes
from alexdsl_cuda.dialect import F1, Function, cuda, float32, int32, uint32
from alexdsl_cuda.maxpool import inside, pool_constants
from alexdsl_cuda.offer import Call, Constants, Offer, head_attrs, is_tail, tail, with_extra
from alexdsl_cuda.quads import fetch, flat, read, size_of, thread, write


@kernel
def counted(start, kernel, size, before, after, padded):
    """How many pixels of a window that starts at pixel ``start`` of an axis the mean counts."""
    first, last = int32(start), int32(start + kernel)
    low, high = int32(-before if padded else 0), int32(size + after if padded else size)
    return int32((last if last < high else high) - (first if first > low else low))


@kernel
def share_of(top, left, *, HEIGHT, WIDTH, KH, KW, TOP, LEFT, BOTTOM, RIGHT, PADDED, INSIDE):
    """What a pixel of the window at this corner counts for in its mean."""
    if INSIDE:
        return float32(1.0) / float32(KH * KW)
    rows = counted(top, KH, HEIGHT, TOP, BOTTOM, PADDED)
    return float32(1.0) / float32(int32(rows * counted(left, KW, WIDTH, LEFT, RIGHT, PADDED)))


@kernel
def avgpool(
    x: F1, y: F1, count: int, *, SIZE, CHANNELS, HEIGHT, WIDTH, OUT_H, OUT_W, KH, KW, SH, SW, TOP, LEFT, INSIDE,
) -> None:  # fmt: skip
    """The mean of every window."""
    t = thread()
    if t < uint32(count):
        total = cuda.local.array(SIZE, float32)
        pixel = cuda.local.array(SIZE, float32)
        c, window = uint32(t % (CHANNELS // SIZE) * SIZE), uint32(t // (CHANNELS // SIZE))
        left, top = int32(int32(window % OUT_W) * SW - LEFT), int32(int32(window // OUT_W % OUT_H) * SH - TOP)
        image = int32(window // (OUT_W * OUT_H) * HEIGHT)
        for k in range(SIZE):
            total[k] = float32(0.0)
        for i in range(KH):
            for j in range(KW):
                iy, ix = int32(top + i), int32(left + j)
                held = INSIDE or (0 <= iy < HEIGHT and 0 <= ix < WIDTH)
                fetch(pixel, 0, x, uint32(((image + iy) * WIDTH + ix) * CHANNELS + c), held, SIZE, 0, 1)
                for k in range(SIZE):
                    total[k] += pixel[k]
        share = share_of(top, left)
        for k in range(SIZE):
            total[k] *= share
        write(y, uint32(t * SIZE), total)


@kernel
def avgpool_grad(
    dy: F1, other: F1, dx: F1, count: int, *, SIZE, CHANNELS, HEIGHT, WIDTH, OUT_H, OUT_W, KH, KW, SH, SW, TOP, LEFT,
    EPILOGUE: Function,
) -> None:  # fmt: skip
    """dx = EPILOGUE(the sum of the shares of all windows that hold the pixel)."""
    t = thread()
    if t < uint32(count):
        total = cuda.local.array(SIZE, float32)
        grad = cuda.local.array(SIZE, float32)
        extra = cuda.local.array(SIZE, float32)
        c, pixel = uint32(t % (CHANNELS // SIZE) * SIZE), uint32(t // (CHANNELS // SIZE))
        ix, iy, n = int32(pixel % WIDTH), int32(pixel // WIDTH % HEIGHT), int32(pixel // (WIDTH * HEIGHT))
        for k in range(SIZE):
            total[k] = float32(0.0)
        # The last windows that may hold the pixel; those before them are counted back from here.
        bottom, right = int32(uint32(iy + TOP) // SH), int32(uint32(ix + LEFT) // SW)
        for i in range((KH + SH - 1) // SH):
            for j in range((KW + SW - 1) // SW):
                oy, ox = int32(bottom - i), int32(right - j)
                top, left = int32(oy * SH - TOP), int32(ox * SW - LEFT)
                holds = 0 <= oy < OUT_H and 0 <= ox < OUT_W and iy < top + KH and ix < left + KW
                fetch(grad, 0, dy, uint32(((n * OUT_H + oy) * OUT_W + ox) * CHANNELS + c), holds, SIZE, 0, 1)
                share = share_of(top, left) if holds else float32(0.0)
                for k in range(SIZE):
                    total[k] += grad[k] * share
        at = uint32(t * SIZE)
        read(extra, other, at)
        for k in range(SIZE):
            total[k] = EPILOGUE(total[k], extra[k])
        write(dx, at, total)


class AvgPool(Offer):
    """``avgpool`` and its gradient; the gradient's epilogue takes at most one further operand."""

    heads = ("avgpool", "avgpool_grad")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and chain[0].name == "avgpool_grad" and is_tail(chain[1:])

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names, made, attrs = [f"%{name}" for name in op.operands], f"%{op.name}", head_attrs(op)
        maps = operands[0] if op.kind == "avgpool" else results[0]
        rows, columns = pool_axes(maps.shape, attrs)
        size = size_of(maps.shape[1])
        constants: Constants = {
            **pool_constants(rows, columns), "SIZE": size, "CHANNELS": maps.shape[1], "HEIGHT": rows.size,
            "WIDTH": columns.size, "BOTTOM": rows.after, "RIGHT": columns.after,
            "PADDED": attrs["count"] == "padded", "INSIDE": inside(rows, columns),
        }  # fmt: skip
        if op.kind == "avgpool":
            return [flat(avgpool, (*names, made), results[0].elements // size, constants)]
        epilogue = tail(op, self.registry)
        other = names[-1] if len(epilogue.args) == 2 else made
        grads: Constants = {**constants, "EPILOGUE": with_extra(epilogue)}
        return [flat(avgpool_grad, (names[0], other, made), results[0].elements // size, grads)]
