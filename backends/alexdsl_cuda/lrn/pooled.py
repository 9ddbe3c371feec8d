"""Local response normalisation with max pooling after it, forward and backward: the maps between are never stored."""

from __future__ import annotations

from typing import Any

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.dialect import F1, I1, Function, cuda, float32, int32, uint32
from alexdsl_cuda.lrn.pixels import fetch_around, finish, lrn_slope, normalise, put, quad
from alexdsl_cuda.maxpool import begin, compete, gather, write_places
from alexdsl_cuda.quads import write

take: Any = None
"""From ``alexdsl_cuda.intrinsics``."""


@kernel
def maxpool_grad_lrn_grad(
    dy: F1, index: I1, x: F1, other: F1, dx: F1, *, SIZE, CHANNELS, OWN, FIRST, SPAN, BEFORE, BEHIND, AFTER, AHEAD,
    PIECES, NEAR, PARTS, BLOCK, ACROSS, SHARED, SAME, ALPHA, K, FACTOR, POWER: Function, EPILOGUE: Function, HEIGHT,
    WIDTH, OUT_H, OUT_W, KH, KW, SH, SW, TOP, LEFT,
) -> None:  # fmt: skip
    """dx = EPILOGUE(lrn's gradient of what the pixels won); a block has whole pixels of a row, which ACROSS share."""
    tile = cuda.shared.array(SHARED, quad)
    near = cuda.local.array(NEAR, float32)
    terms = cuda.local.array(NEAR, float32)
    won = cuda.local.array(SIZE, float32)
    grad = cuda.local.array(SIZE, float32)
    value = cuda.local.array(SIZE, float32)
    t, block, iy = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x), int32(cuda.blockIdx.y)
    n = int32(block // ACROSS)
    c, ix = uint32(t % PARTS * SIZE), int32(block % ACROSS * (BLOCK // PARTS) + t // PARTS)
    at, own, live = uint32(((n * HEIGHT + iy) * WIDTH + ix) * CHANNELS + c), int32(int32(c) - FIRST), ix < WIDTH
    fetch_around(near, x, at, c, live, SIZE, CHANNELS, BEHIND, PIECES)
    gather(won, grad, dy, index, n, iy, ix, own, live and 0 <= own < OWN)
    lrn_slope(value, near, won, terms, tile, t, c)
    finish(value, near, dx, other, at, live)


@kernel
def place(column, *, PARTS, SW, STEP):
    """Where a row keeps a column's quads; from one window's columns to the next window's it is STEP of them."""
    return uint32(column // SW * STEP + column % SW * PARTS)


@kernel
def normalise_row(
    normal, near, value, x, first, ring, t, c, *, SIZE, CHANNELS, BEHIND, PIECES, WIDTH, ROOM, PARTS, BLOCK,
):  # fmt: skip
    """A row of x from ``first`` on, normalised, into the ring in shared memory from its place ``ring`` on."""
    column, at = uint32(t // PARTS), uint32(first + t // PARTS * CHANNELS + c)
    while column < WIDTH:
        fetch_around(near, x, at, c, True, SIZE, CHANNELS, BEHIND, PIECES)
        normalise(value, near)
        put(normal, uint32((ring + place(uint32(column + ROOM)) + t % PARTS) * SIZE), value, SIZE)
        column, at = uint32(column + BLOCK // PARTS), uint32(at + BLOCK // PARTS * CHANNELS)


@kernel
def look_for_winner(
    best, places, value, normal, top, left, at, *, SIZE, HEIGHT, WIDTH, KH, KW, INSIDE, PARTS, PITCH, SW, STEP, REACH,
):  # fmt: skip
    """The largest pixel of a window, REACH columns behind ``at`` in the ring's rows, and which one it is."""
    begin(best, places, top, left)
    row, a = uint32(uint32(top + KH) % KH), int32(0)
    while a < KH:
        for b in range(KW):
            iy, ix = int32(top + a), int32(left + b)
            held = INSIDE or (0 <= iy < HEIGHT and 0 <= ix < WIDTH)
            if held:
                by = uint32(((REACH + b) // SW * STEP + (REACH + b) % SW * PARTS) * SIZE)
                take(value, normal, uint32(at + row * (PITCH * SIZE)), by, SIZE)
            compete(best, places, value, held, int32(a * KW + b))
        row, a = uint32(row + 1) if uint32(row + 1) < KH else uint32(0), int32(a + 1)


@kernel
def lrn_maxpool(
    x: F1, y: F1, index: I1, *, SIZE, CHANNELS, OWN, FIRST, SPAN, BEFORE, BEHIND, PIECES, NEAR, ALPHA, K,
    POWER: Function, HEIGHT, WIDTH, OUT_H, OUT_W, KH, KW, SH, SW, TOP, LEFT, INSIDE, CHUNK, PARTS, ROOM, REACH, STEP,
    PITCH, ROWS, BANDS, BLOCK, SHARED,
) -> None:  # fmt: skip
    """Max pooling of the normalised maps, of which only shared memory holds the last KH rows.

    A block has CHUNK channels and a band of ROWS output rows of an image; it goes down the rows one by one. A thread
    stays with its channels. Before each row is room for what a window reaches over an image's left edge.
    """
    normal = cuda.shared.array(SHARED, quad)
    near = cuda.local.array(NEAR, float32)
    best = cuda.local.array(SIZE, float32)
    value = cuda.local.array(SIZE, float32)
    places = cuda.local.array(SIZE, int32)
    t, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
    band, n = uint32(block // (OWN // CHUNK) % BANDS), int32(block // (OWN // CHUNK * BANDS))
    part, c = uint32(t % PARTS), uint32(block % (OWN // CHUNK) * CHUNK + t % PARTS * SIZE)
    done, oy = int32(0), int32(band * ROWS)
    last = int32(min(int32(oy + ROWS), int32(OUT_H)))
    while oy < last:
        # Rows from ``done`` on, up to the last that the window reaches, are not normalised yet.
        top = int32(oy * SH - TOP)
        done, end = int32(max(done, top)), int32(min(int32(top + KH), int32(HEIGHT)))
        while done < end:
            first, ring = uint32((n * HEIGHT + done) * (WIDTH * CHANNELS)), uint32(uint32(done) % KH * PITCH)
            normalise_row(normal, near, value, x, first, ring, t, uint32(FIRST + c))
            done = int32(done + 1)
        cuda.syncthreads()
        ox, at = uint32(t // PARTS), uint32((n * OUT_H + oy) * (OUT_W * OWN) + t // PARTS * OWN + c)
        while ox < OUT_W:
            first = uint32((ox * STEP + part) * SIZE)
            look_for_winner(best, places, value, normal, top, int32(int32(ox * SW) - LEFT), first)
            write(y, at, best)
            write_places(index, at, places)
            ox, at = uint32(ox + BLOCK // PARTS), uint32(at + BLOCK // PARTS * OWN)
        cuda.syncthreads()
        oy = int32(oy + 1)
