"""Local response normalisation of pixels, and its gradient.

A thread makes neighbouring channels of a pixel, four where it can, and reads its neighbours' channels beside its own.
Powers are taken of 1 / sqrt(strength), whose square a gradient needs, too. The processor has one instruction for such a
root and one for a square root, each right within two units in the last place; by IEEE's rules they are dozens.
"""

from __future__ import annotations

from typing import Any

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.dialect import F1, Function, cuda, float32, int32, uint32
from alexdsl_cuda.quads import fetch, read, thread, write

fetch_around: Any = None
"""From ``alexdsl_cuda.intrinsics``, as those below are."""
inverse_root: Any = None
put: Any = None
quad: Any = None
take_around: Any = None


@kernel
def windows(sums, numbers, first, squared, *, SIZE, SPAN):
    """The sums of SIZE windows of SPAN numbers, or of their squares; windows begin at ``first`` and one place on each.

    What all windows hold is added up once. Nothing is added only to be taken away again.
    """
    if SPAN < SIZE:
        for k in range(SIZE):
            sums[k] = float32(0.0)
            for j in range(SPAN):
                n = numbers[first + k + j]
                sums[k] += n * n if squared else n
    else:
        total, ahead = float32(0.0), float32(0.0)
        for j in range(SIZE - 1, SPAN):
            n = numbers[first + j]
            total += n * n if squared else n
        sums[SIZE - 1] = total
        for j in range(SIZE - 1):
            n = numbers[first + SIZE - 2 - j]
            total += n * n if squared else n
            sums[SIZE - 2 - j] = total
        for k in range(1, SIZE):
            n = numbers[first + SPAN - 1 + k]
            ahead += n * n if squared else n
            sums[k] += ahead


@kernel
def inverse_roots(roots, near, *, SIZE, BEFORE, BEHIND, ALPHA, K):
    """1 / sqrt(K + ALPHA S) of a thread's channels."""
    windows(roots, near, BEHIND - BEFORE, True)
    for k in range(SIZE):
        roots[k] = inverse_root(K + ALPHA * roots[k])


@kernel
def normalise(value, near, *, SIZE, BEHIND, POWER: Function):
    """value = a thread's channels x POWER(1 / sqrt(K + ALPHA S))."""
    inverse_roots(value, near)
    for k in range(SIZE):
        value[k] = near[BEHIND + k] * POWER(value[k])


@kernel
def lrn(
    x: F1, y: F1, count: int, *, SIZE, CHANNELS, OWN, FIRST, SPAN, BEFORE, BEHIND, PIECES, NEAR, ALPHA, K,
    POWER: Function,
) -> None:  # fmt: skip
    """y = x POWER(1 / sqrt(K + ALPHA S)); y's OWN channels begin at x's FIRST."""
    t = thread()
    if t < uint32(count):
        near = cuda.local.array(NEAR, float32)
        value = cuda.local.array(SIZE, float32)
        c, pixel = uint32(FIRST + t % (OWN // SIZE) * SIZE), uint32(t // (OWN // SIZE))
        fetch_around(near, x, uint32(pixel * CHANNELS + c), c, True, SIZE, CHANNELS, BEHIND, PIECES)
        normalise(value, near)
        write(y, uint32(t * SIZE), value)


@kernel
def lrn_slope(
    value, near, grad, terms, tile, t, c, *, SIZE, CHANNELS, BEHIND, PIECES, AHEAD, AFTER, FACTOR, POWER: Function,
):  # fmt: skip
    """value = the gradient of a thread's channels, ``grad`` being that of their normalised ones, which is lost.

    A channel owes something to every strength that it is part of. Those are its neighbours', which find them out
    themselves: through shared memory a block's threads tell each other.
    """
    inverse_roots(value, near)
    for k in range(SIZE):
        inverse = value[k]
        value[k] = grad[k] * POWER(inverse)
        grad[k] = value[k] * near[BEHIND + k] * (inverse * inverse)
        terms[AHEAD + k] = grad[k]
    put(tile, uint32(t * SIZE), grad, SIZE)
    cuda.syncthreads()
    take_around(terms, tile, uint32(t * SIZE), c, SIZE, CHANNELS, AHEAD, PIECES)
    windows(grad, terms, AHEAD - AFTER, False)
    for k in range(SIZE):
        value[k] -= FACTOR * near[BEHIND + k] * grad[k]


@kernel
def finish(value, near, dx, other, at, live, *, SIZE, BEHIND, SAME, EPILOGUE: Function):
    """dx = EPILOGUE(value), whose further operand is x itself if SAME."""
    extra = cuda.local.array(SIZE, float32)
    if live:
        if not SAME:
            read(extra, other, at)
        for k in range(SIZE):
            value[k] = EPILOGUE(value[k], near[BEHIND + k] if SAME else extra[k])
        write(dx, at, value)


@kernel
def lrn_grad(
    dy: F1, x: F1, other: F1, dx: F1, count: int, *, SIZE, CHANNELS, OWN, FIRST, SPAN, BEFORE, BEHIND, AFTER, AHEAD,
    PIECES, NEAR, PARTS, BLOCK, SHARED, SAME, ALPHA, K, FACTOR, POWER: Function, EPILOGUE: Function,
) -> None:  # fmt: skip
    """dx = EPILOGUE(the gradient), ``count`` pixels; a block has whole pixels."""
    tile = cuda.shared.array(SHARED, quad)
    near = cuda.local.array(NEAR, float32)
    terms = cuda.local.array(NEAR, float32)
    grad = cuda.local.array(SIZE, float32)
    value = cuda.local.array(SIZE, float32)
    t = uint32(cuda.threadIdx.x)
    c, pixel = uint32(t % PARTS * SIZE), uint32(cuda.blockIdx.x * (BLOCK // PARTS) + t // PARTS)
    at, own, live = uint32(pixel * CHANNELS + c), int32(int32(c) - FIRST), pixel < uint32(count)
    fetch_around(near, x, at, c, live, SIZE, CHANNELS, BEHIND, PIECES)
    fetch(grad, 0, dy, uint32(pixel * OWN + own), live and 0 <= own < OWN, SIZE, 0, 1)
    lrn_slope(value, near, grad, terms, tile, t, c)
    finish(value, near, dx, other, at, live)
