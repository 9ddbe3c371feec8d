"""Maps from one layout to the other on CUDA, through tiles in shared memory whose every row is one run of memory."""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl.ir.types import TensorType
from alexdsl_cuda.dialect import F1, cuda, float32, uint32
from alexdsl_cuda.offer import THREADS, Call
from alexdsl_cuda.quads import whole_warps

CHANNELS, PIXELS = 32, 128
"""A tile's numbers along each axis at most. Fewer pixels than that are a tile's whole run of memory, as are rows of
channels; longer runs of pixels begin at any place, and are this long for the sectors at their ends to matter little."""


@kernel
def transpose(x: F1, y: F1, *, HEIGHT, WIDTH, HIGH, WIDE, DOWN, ACROSS, PITCH, SHARED, THREADS) -> None:
    """y[n, WIDTH, HEIGHT] = x[n, HEIGHT, WIDTH]; a block makes a tile of HIGH x WIDE, of which an image has DOWN rows
    of ACROSS."""
    tile = cuda.shared.array(SHARED, float32)
    t, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
    image = uint32(block // (DOWN * ACROSS) * (HEIGHT * WIDTH))
    top, left = uint32(block // ACROSS % DOWN * HIGH), uint32(block % ACROSS * WIDE)
    i = t
    while i < uint32(HIGH * WIDE):
        row, column = uint32(i // WIDE), uint32(i % WIDE)
        if uint32(top + row) < HEIGHT and uint32(left + column) < WIDTH:
            tile[uint32(row * PITCH + column)] = x[uint32(image + (top + row) * WIDTH + left + column)]
        i = uint32(i + THREADS)
    cuda.syncthreads()
    i = t
    while i < uint32(HIGH * WIDE):
        row, column = uint32(i % HIGH), uint32(i // HIGH)
        if uint32(top + row) < HEIGHT and uint32(left + column) < WIDTH:
            y[uint32(image + (left + column) * HEIGHT + top + row)] = tile[uint32(row * PITCH + column)]
        i = uint32(i + THREADS)


def converted(x: str, y: str, source: TensorType, target: TensorType) -> Call:
    """Maps from one layout to the other."""
    if bool(target.layout) == bool(source.layout):
        raise ValueError(f"no conversion from {source} to {target}")
    n, channels, *rest = source.shape
    pixels = rest[0] * rest[1]
    # Channels last are rows of channels; maps are rows of pixels.
    height, width = (channels, pixels) if target.layout else (pixels, channels)
    most = (CHANNELS, PIXELS) if target.layout else (PIXELS, CHANNELS)
    high, wide = min(height, most[0]), min(width, most[1])
    down, across = -(-height // high), -(-width // wide)
    threads = min(THREADS, whole_warps(high * wide))
    # An odd pitch: the numbers of a column lie in different banks.
    pitch = wide + 1 - wide % 2
    constants = {
        "HEIGHT": height, "WIDTH": width, "HIGH": high, "WIDE": wide, "DOWN": down, "ACROSS": across,
        "PITCH": pitch, "SHARED": high * pitch, "THREADS": threads,
    }  # fmt: skip
    return Call(transpose, (x, y), (n * down * across, 1, 1), constants, (threads, 1, 1))
