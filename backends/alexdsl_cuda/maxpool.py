"""Max pooling on CUDA: every window looks for its winner, every input pixel gathers what it won.

A thread makes neighbouring channels of a pixel, four where it can; the places of four winners are one word of memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import KernelFunction, kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl.ir.types import TensorType
from alexdsl.layers.window import Axis, pool_axes
from alexdsl_cuda.dialect import F1, I1, Function, cuda, float32, int32, uint32
from alexdsl_cuda.offer import Call, Constants, Offer, head_attrs, is_tail, retyped, tail, with_extra
from alexdsl_cuda.quads import fetch, flat, read, size_of, thread, write


@kernel
def write_places(index, at, places, *, SIZE):
    """The places in their windows of SIZE winners, a byte each if they are four."""
    if SIZE == 4:
        index[uint32(at // 4)] = int32(places[0] | places[1] << 8 | places[2] << 16 | places[3] << 24)
    else:
        index[at] = places[0]


@kernel
def compete(best, places, pixel, inside, mine, *, SIZE):
    """Let the pixel at place ``mine`` win where it is larger, or is not a number; equals lose."""
    for i in range(SIZE):
        larger = inside and (pixel[i] > best[i] or pixel[i] != pixel[i])
        places[i] = mine if larger else places[i]
        best[i] = pixel[i] if larger else best[i]


@kernel
def begin(best, places, top, left, *, SIZE, KW):
    """Nobody has won yet; the first pixel of the window that lies in the image is the winner among equals."""
    for i in range(SIZE):
        best[i] = float32(-math.inf)
        places[i] = int32((int32(-top) if top < 0 else int32(0)) * KW + (int32(-left) if left < 0 else int32(0)))


@kernel
def maxpool(
    x: F1, y: F1, index: I1, count: int, *, SIZE, CHANNELS, HEIGHT, WIDTH, OUT_H, OUT_W, KH, KW, SH, SW, TOP, LEFT,
    INSIDE,
) -> None:  # fmt: skip
    """The largest pixel of every window, and which one it was."""
    t = thread()
    if t < uint32(count):
        best = cuda.local.array(SIZE, float32)
        pixel = cuda.local.array(SIZE, float32)
        places = cuda.local.array(SIZE, int32)
        c, window = uint32(t % (CHANNELS // SIZE) * SIZE), uint32(t // (CHANNELS // SIZE))
        left, top = int32(int32(window % OUT_W) * SW - LEFT), int32(int32(window // OUT_W % OUT_H) * SH - TOP)
        image = int32(window // (OUT_W * OUT_H) * HEIGHT)
        begin(best, places, top, left)
        for i in range(KH):
            for j in range(KW):
                iy, ix = int32(top + i), int32(left + j)
                inside = INSIDE or (0 <= iy < HEIGHT and 0 <= ix < WIDTH)
                fetch(pixel, 0, x, uint32(((image + iy) * WIDTH + ix) * CHANNELS + c), inside, SIZE, 0, 1)
                compete(best, places, pixel, inside, int32(i * KW + j))
        at = uint32(t * SIZE)
        write(y, at, best)
        write_places(index, at, places)


@kernel
def join_won(total, grad, index, at, mine, *, SIZE):
    """total += a window's gradient of the channels whose winner was at place ``mine``."""
    if SIZE == 4:
        # Four places are a word; those that are ``mine`` become bytes of zero.
        word = uint32(uint32(index[uint32(at // 4)]) ^ uint32(mine * 0x01010101))
        for k in range(SIZE):
            total[k] += grad[k] if uint32(word >> 8 * k & 255) == 0 else float32(0.0)
    else:
        total[0] += grad[0] if int32(index[at]) == mine else float32(0.0)


@kernel
def gather(
    total, grad, dy, index, n, iy, ix, c, live, *, SIZE, OWN, OUT_H, OUT_W, KH, KW, SH, SW, TOP, LEFT,
):  # fmt: skip
    """total = what the pixel won: the gradients of the windows that hold it, where it was the winner."""
    for i in range(SIZE):
        total[i] = float32(0.0)
    # The last windows that may hold the pixel; those before them are counted back from here.
    bottom, right = int32(uint32(iy + TOP) // SH), int32(uint32(ix + LEFT) // SW)
    last = int32(int32(int32(n * OUT_H) + bottom) * OUT_W)
    last = int32(int32(int32(last + right) * OWN) + c)
    for i in range((KH + SH - 1) // SH):
        down = int32(int32(uint32(iy + TOP) % SH) + i * SH)
        # A branch, not a predicate: most threads of a warp are of one row of pixels, and leave out the same windows.
        if live and i <= bottom < OUT_H + i and down < KH:
            for j in range((KW + SW - 1) // SW):
                along = int32(int32(uint32(ix + LEFT) % SW) + j * SW)
                if j <= right < OUT_W + j and along < KW:
                    at = uint32(int32(last - (i * OUT_W + j) * OWN))
                    read(grad, dy, at)
                    join_won(total, grad, index, at, uint32(down * KW + along))


@kernel
def maxpool_grad(
    dy: F1, index: I1, other: F1, dx: F1, count: int, *, SIZE, OWN, HEIGHT, WIDTH, EPILOGUE: Function,
) -> None:  # fmt: skip
    """dx = EPILOGUE(what the pixel won)."""
    t = thread()
    if t < uint32(count):
        total = cuda.local.array(SIZE, float32)
        grad = cuda.local.array(SIZE, float32)
        extra = cuda.local.array(SIZE, float32)
        c, pixel = uint32(t % (OWN // SIZE) * SIZE), uint32(t // (OWN // SIZE))
        ix, iy, n = int32(pixel % WIDTH), int32(pixel // WIDTH % HEIGHT), int32(pixel // (WIDTH * HEIGHT))
        gather(total, grad, dy, index, n, iy, ix, c, True)
        at = uint32(t * SIZE)
        read(extra, other, at)
        for i in range(SIZE):
            total[i] = EPILOGUE(total[i], extra[i])
        write(dx, at, total)


class MaxPool(Offer):
    """``maxpool``, and ``maxpool_grad`` with an epilogue of elementwise kinds with at most one further operand."""

    heads = ("maxpool", "maxpool_grad")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and chain[0].name == "maxpool_grad" and is_tail(chain[1:])

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names, made = [f"%{name}" for name in op.operands], [f"%{r.name}" for r in op.results]
        forward = op.kind == "maxpool"
        maps, places = (operands[0], results[1]) if forward else (results[0], operands[1])
        rows, columns = pool_axes(maps.shape, head_attrs(op))
        channels, size = maps.shape[1], places_size(places, maps.shape[1])
        shape = {"SIZE": size, "HEIGHT": rows.size, "WIDTH": columns.size}
        if forward:
            constants = {
                **pool_constants(rows, columns), **shape, "CHANNELS": channels, "INSIDE": inside(rows, columns)
            }  # fmt: skip
            return [flat(indexed(maxpool, places, size), (*names, *made), results[0].elements // size, constants)]
        epilogue = tail(op, self.registry)
        other = names[-1] if len(epilogue.args) == 2 else made[0]
        grads: Constants = {
            **pool_constants(rows, columns), **shape, "OWN": channels, "EPILOGUE": with_extra(epilogue)
        }  # fmt: skip
        function = indexed(maxpool_grad, places, size)
        return [flat(function, (*names[:2], other, *made), results[0].elements // size, grads)]


def pool_constants(rows: Axis, columns: Axis) -> dict[str, int]:
    """The windows' constants, as pooling reads them."""
    return {
        "OUT_H": rows.out, "OUT_W": columns.out, "KH": rows.kernel, "KW": columns.kernel, "SH": rows.stride,
        "SW": columns.stride, "TOP": rows.before, "LEFT": columns.before,
    }  # fmt: skip


def inside(rows: Axis, columns: Axis) -> bool:
    """Whether every window lies wholly in the image."""
    return all(a.before == 0 and (a.out - 1) * a.stride + a.kernel <= a.size for a in (rows, columns))


def places_size(places: TensorType, *counts: int) -> int:
    """How many channels a thread makes: four if the places of four winners are a word."""
    return size_of(*counts) if places.dtype == "u8" else 1


def indexed(function: KernelFunction, places: TensorType, size: int) -> KernelFunction:
    """The kernel function for places of this type: words of four bytes each, or one by one."""
    return retyped(function, index="U1" if places.dtype == "u8" and size == 1 else "I1")
