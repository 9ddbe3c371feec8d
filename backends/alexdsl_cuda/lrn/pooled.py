"""Local response normalisation with max pooling after it, forward and backward: the maps between are never stored."""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.dialect import F1, I1, Function, cuda, float32, int32, uint32
from alexdsl_cuda.lrn.pixels import inverse, neighbours, owed, share_terms
from alexdsl_cuda.maxpool import begin, compete, gather, write_places
from alexdsl_cuda.quads import read, write


@kernel
def maxpool_grad_lrn_grad(
    dy: F1, index: I1, x: F1, other: F1, dx: F1, count: int, *, SIZE, CHANNELS, OWN, FIRST, SPAN, BEFORE, BEHIND,
    PIECES, NEAR, BLOCK, SHARED, ALPHA, K, FACTOR, POWER: Function, EPILOGUE: Function, HEIGHT, WIDTH, OUT_H, OUT_W, KH,
    KW, SH, SW, TOP, LEFT,
) -> None:  # fmt: skip
    """dx = EPILOGUE(lrn's gradient of what the pixels won), ``count`` pixels; a block has whole pixels."""
    terms = cuda.shared.array(SHARED, float32)
    near = cuda.local.array(NEAR, float32)
    won = cuda.local.array(SIZE, float32)
    grad = cuda.local.array(SIZE, float32)
    places = cuda.local.array(SIZE, int32)
    value = cuda.local.array(SIZE, float32)
    extra = cuda.local.array(SIZE, float32)
    t = uint32(cuda.threadIdx.x)
    c = uint32(t % (CHANNELS // SIZE) * SIZE)
    pixel = uint32(cuda.blockIdx.x * (BLOCK // (CHANNELS // SIZE)) + t // (CHANNELS // SIZE))
    live = pixel < uint32(count)
    neighbours(near, x, pixel, c, live)
    own = int32(int32(c) - FIRST)
    ix, iy, n = int32(pixel % WIDTH), int32(pixel // WIDTH % HEIGHT), int32(pixel // (WIDTH * HEIGHT))
    gather(won, grad, places, dy, index, n, iy, ix, own, live and 0 <= own < OWN)
    share_terms(terms, value, near, won, t)
    if live:
        at = uint32(pixel * CHANNELS + c)
        read(extra, other, at)
        for k in range(SIZE):
            value[k] = EPILOGUE(value[k] - FACTOR * near[BEHIND + k] * owed(terms, t, c, k), extra[k])
        write(dx, at, value)


@kernel
def lrn_maxpool(
    x: F1, y: F1, index: I1, *, SIZE, CHANNELS, OWN, FIRST, SPAN, BEFORE, BEHIND, PIECES, NEAR, ALPHA, K,
    POWER: Function, HEIGHT, WIDTH, OUT_H, OUT_W, KH, KW, SH, SW, TOP, LEFT, INSIDE, CHUNK, PARTS, ROWS, BANDS, BLOCK,
    SHARED,
) -> None:  # fmt: skip
    """Max pooling of the normalised maps, of which only shared memory holds the last KH rows.

    A block has CHUNK channels and a band of ROWS output rows of an image; it goes down the rows one by one.
    """
    normal = cuda.shared.array(SHARED, float32)
    near = cuda.local.array(NEAR, float32)
    best = cuda.local.array(SIZE, float32)
    value = cuda.local.array(SIZE, float32)
    places = cuda.local.array(SIZE, int32)
    t, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
    chunk, band = uint32(block % (OWN // CHUNK) * CHUNK), uint32(block // (OWN // CHUNK) % BANDS)
    n = int32(block // (OWN // CHUNK * BANDS))
    done, oy = int32(0), int32(band * ROWS)
    last = int32(min(int32(oy + ROWS), int32(OUT_H)))
    while oy < last:
        # Rows from ``done`` on, up to the last that the window reaches, are not normalised yet.
        top = int32(oy * SH - TOP)
        done, end = int32(max(done, top)), int32(min(int32(top + KH), int32(HEIGHT)))
        i = t
        while i < uint32(int32(end - done) * (WIDTH * PARTS)):
            row, column = uint32(done + int32(i // (WIDTH * PARTS))), uint32(i // PARTS % WIDTH)
            pixel = uint32((n * HEIGHT + row) * WIDTH + column)
            neighbours(near, x, pixel, uint32(FIRST + chunk + i % PARTS * SIZE), True)
            at = uint32((row % KH * WIDTH + column) * PARTS + i % PARTS)
            for k in range(SIZE):
                normal[uint32(at + k * (KH * WIDTH * PARTS))] = near[BEHIND + k] * POWER(inverse(near, k))
            i = uint32(i + BLOCK)
        done = end
        cuda.syncthreads()
        i = t
        while i < OUT_W * PARTS:
            ox = int32(i // PARTS)
            left = int32(ox * SW - LEFT)
            begin(best, places, top, left)
            for a in range(KH):
                for b in range(KW):
                    iy, ix = int32(top + a), int32(left + b)
                    held = INSIDE or (0 <= iy < HEIGHT and 0 <= ix < WIDTH)
                    at = uint32((uint32(iy) % KH * WIDTH + ix) * PARTS + i % PARTS) if held else uint32(0)
                    for k in range(SIZE):
                        value[k] = normal[uint32(at + k * (KH * WIDTH * PARTS))]
                    compete(best, places, value, held, int32(a * KW + b))
            at = uint32(((n * OUT_H + oy) * OUT_W + ox) * OWN + chunk + i % PARTS * SIZE)
            write(y, at, best)
            write_places(index, at, places)
            i = uint32(i + BLOCK)
        cuda.syncthreads()
        oy = int32(oy + 1)
