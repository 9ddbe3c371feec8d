"""Maps from one layout to the other on CUDA, through tiles in shared memory whose every row is one run of memory."""

from __future__ import annotations

import math

from alexdsl.ir.kernels import kernel
from alexdsl.ir.types import TensorType
from alexdsl_cuda.dialect import F1, cuda, float32, uint32
from alexdsl_cuda.offer import THREADS, Call
from alexdsl_cuda.quads import whole_warps

CHANNELS, PIXELS = 32, 128
"""A tile's numbers along each axis at most. Fewer pixels than that are a tile's whole run of memory, as are rows of
channels; longer runs of pixels begin at any place, and are this long for the sectors at their ends to matter little."""
BANKS = 32
"""Of shared memory: numbers so far apart lie in the same one."""


@kernel
def place(channel, pixel, *, RUN, SKEW):
    """Where a tile keeps a channel's pixel: runs of RUN pixels, one after the other, a place left free after every SKEW
    of them. So many are a multiple of the banks, and the first to end at one: warps that go along the runs meet every
    bank once, and so do those that go across, whose numbers would begin at the same banks again."""
    return uint32(channel * RUN + pixel + channel // SKEW)


@kernel
def transpose(
    x: F1, y: F1, *, HEIGHT, WIDTH, HIGH, WIDE, DOWN, ACROSS, RUN, SKEW, SHARED, CHANNELS_LAST, THREADS,
) -> None:  # fmt: skip
    """y[n, WIDTH, HEIGHT] = x[n, HEIGHT, WIDTH]; a block makes a tile of HIGH x WIDE, of which an image has DOWN rows
    of ACROSS. The rows are pixels if CHANNELS_LAST, channels otherwise."""
    tile = cuda.shared.array(SHARED, float32)
    t, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
    image = uint32(block // (DOWN * ACROSS) * (HEIGHT * WIDTH))
    top, left = uint32(block // ACROSS % DOWN * HIGH), uint32(block % ACROSS * WIDE)
    i = t
    while i < uint32(HIGH * WIDE):
        row, column = uint32(i // WIDE), uint32(i % WIDE)
        if uint32(top + row) < HEIGHT and uint32(left + column) < WIDTH:
            at = place(column, row) if CHANNELS_LAST else place(row, column)
            tile[at] = x[uint32(image + (top + row) * WIDTH + left + column)]
        i = uint32(i + THREADS)
    cuda.syncthreads()
    i = t
    while i < uint32(HIGH * WIDE):
        row, column = uint32(i % HIGH), uint32(i // HIGH)
        if uint32(top + row) < HEIGHT and uint32(left + column) < WIDTH:
            at = place(column, row) if CHANNELS_LAST else place(row, column)
            y[uint32(image + (left + column) * HEIGHT + top + row)] = tile[at]
        i = uint32(i + THREADS)


def converted(x: str, y: str, source: TensorType, target: TensorType) -> Call:
    """Maps from one layout to the other."""
    if bool(target.layout) == bool(source.layout):
        raise ValueError(f"no conversion from {source} to {target}")
    n, channels, *rest = source.shape
    pixels = rest[0] * rest[1]
    last = not target.layout
    # Channels last are rows of channels; maps are rows of pixels.
    height, width = (pixels, channels) if last else (channels, pixels)
    run, across = min(pixels, PIXELS), min(channels, CHANNELS)
    high, wide = (run, across) if last else (across, run)
    down, beside = -(-height // high), -(-width // wide)
    threads = min(THREADS, whole_warps(high * wide))
    skew = BANKS // math.gcd(run, BANKS)
    constants = {
        "HEIGHT": height, "WIDTH": width, "HIGH": high, "WIDE": wide, "DOWN": down, "ACROSS": beside, "RUN": run,
        "SKEW": skew, "SHARED": run * across + (across - 1) // skew, "CHANNELS_LAST": last, "THREADS": threads,
    }  # fmt: skip
    return Call(transpose, (x, y), (n * down * beside, 1, 1), constants, (threads, 1, 1))
