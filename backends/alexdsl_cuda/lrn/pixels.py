"""Local response normalisation of pixels, and its gradient.

A thread makes neighbouring channels of a pixel, four where it can, and reads its neighbours' channels beside its own.
Powers are taken of 1 / strength, which a gradient needs, too.
"""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.dialect import F1, Function, cuda, float32, int32, uint32
from alexdsl_cuda.quads import fetch, read, thread, write


@kernel
def neighbours(near, x, pixel, c, live, *, SIZE, CHANNELS, BEHIND, PIECES):
    """A thread's own channels and BEHIND behind them, PIECES x SIZE in all; zeros beyond the first and the last."""
    for p in range(PIECES):
        channel = int32(int32(c) + p * SIZE - BEHIND)
        held = live and 0 <= channel < CHANNELS
        fetch(near, p, x, uint32(pixel * CHANNELS + channel), held, SIZE, 0, 1)


@kernel
def inverse(near, k, *, SPAN, BEFORE, BEHIND, ALPHA, K):
    """1 / (K + ALPHA S) of a thread's k-th channel."""
    total = float32(0.0)
    for j in range(SPAN):
        total += near[BEHIND - BEFORE + k + j] * near[BEHIND - BEFORE + k + j]
    return float32(1.0) / (K + ALPHA * total)


@kernel
def lrn(
    x: F1, y: F1, count: int, *, SIZE, CHANNELS, OWN, FIRST, SPAN, BEFORE, BEHIND, PIECES, NEAR, ALPHA, K,
    POWER: Function,
) -> None:  # fmt: skip
    """y = x POWER(1 / (K + ALPHA S)); y's OWN channels begin at x's FIRST."""
    t = thread()
    if t < uint32(count):
        near = cuda.local.array(NEAR, float32)
        value = cuda.local.array(SIZE, float32)
        c, pixel = uint32(t % (OWN // SIZE) * SIZE), uint32(t // (OWN // SIZE))
        neighbours(near, x, pixel, uint32(FIRST + c), True)
        for k in range(SIZE):
            value[k] = near[BEHIND + k] * POWER(inverse(near, k))
        write(y, uint32(t * SIZE), value)


@kernel
def share_terms(terms, value, near, grad, t, *, SIZE, BEHIND, BLOCK, POWER: Function):
    """Of a thread's gradients their own channels' parts, and for its neighbours what their strengths owe to each."""
    for k in range(SIZE):
        share = inverse(near, k)
        value[k] = grad[k] * POWER(share)
        terms[uint32(k * BLOCK + t)] = value[k] * near[BEHIND + k] * share
    cuda.syncthreads()


@kernel
def owed(terms, t, c, k, *, SIZE, CHANNELS, SPAN, BEFORE, BLOCK):
    """The terms of the channels whose windows hold a thread's k-th channel."""
    total = float32(0.0)
    for j in range(SPAN):
        # Floor division and its rest, by constants: which thread has the channel, and as its which.
        step, rest = (k + BEFORE - j) // SIZE, (k + BEFORE - j) % SIZE
        channel = int32(int32(c) + k + BEFORE - j)
        if 0 <= channel < CHANNELS:
            total += terms[uint32(int32(t) + step + rest * BLOCK)]
    return total


@kernel
def lrn_grad(
    dy: F1, x: F1, other: F1, dx: F1, count: int, *, SIZE, CHANNELS, OWN, FIRST, SPAN, BEFORE, BEHIND, PIECES, NEAR,
    BLOCK, SHARED, ALPHA, K, FACTOR, POWER: Function, EPILOGUE: Function,
) -> None:  # fmt: skip
    """dx = EPILOGUE(the gradient), ``count`` pixels; a block has whole pixels, whose terms its threads share."""
    terms = cuda.shared.array(SHARED, float32)
    near = cuda.local.array(NEAR, float32)
    grad = cuda.local.array(SIZE, float32)
    value = cuda.local.array(SIZE, float32)
    extra = cuda.local.array(SIZE, float32)
    t = uint32(cuda.threadIdx.x)
    c = uint32(t % (CHANNELS // SIZE) * SIZE)
    pixel = uint32(cuda.blockIdx.x * (BLOCK // (CHANNELS // SIZE)) + t // (CHANNELS // SIZE))
    live = pixel < uint32(count)
    neighbours(near, x, pixel, c, live)
    own = int32(int32(c) - FIRST)
    fetch(grad, 0, dy, uint32(pixel * OWN + own), live and 0 <= own < OWN, SIZE, 0, 1)
    share_terms(terms, value, near, grad, t)
    if live:
        at = uint32(pixel * CHANNELS + c)
        read(extra, other, at)
        for k in range(SIZE):
            value[k] = EPILOGUE(value[k] - FACTOR * near[BEHIND + k] * owed(terms, t, c, k), extra[k])
        write(dx, at, value)
