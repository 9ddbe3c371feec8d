"""The sums beside the products: of a product's splits in their order, and of the output's gradient over all pixels."""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.gemm.names import F1, Function, cuda, float32, int32

ADDERS = 256
"""Threads of a block of these kernels."""
LANES = 32
"""Maps that a block of ``map_sums`` sums, one for each thread of a warp."""


@kernel
def add_splits(
    work: F1, bias: F1, other: F1, y: F1, *, FIRST: int, SPLITS: int, COUNT: int, CHANNELS: int, BIAS: bool,
    EPILOGUE: Function,
) -> None:  # fmt: skip
    """y = EPILOGUE(the sum of SPLITS parts of COUNT floats, from FIRST on + bias); a thread an output."""
    at = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if at >= COUNT:
        return
    total = float32(0.0)
    for split in range(SPLITS):
        total += work[int32(FIRST + split * COUNT + at)]
    if BIAS:
        total += bias[int32(at % CHANNELS)]
    y[at] = EPILOGUE(total, other[at])


@kernel
def map_sums(dy: F1, work: F1, *, FIRST: int, PIXELS: int, MAPS: int, RUN: int, LANES: int, ADDERS: int) -> None:
    """Sums of each map over RUN pixels a block, to the workspace from FIRST on: a row of maps for each run."""
    parts = cuda.shared.array(ADDERS, float32)
    t = int32(cuda.threadIdx.x)
    map, line = int32(cuda.blockIdx.y * LANES + t % LANES), int32(t // LANES)
    first = int32(cuda.blockIdx.x * RUN)
    total = float32(0.0)
    if map < MAPS:
        for pixel in range(int32(first + line), int32(min(first + RUN, PIXELS)), int32(ADDERS // LANES)):
            total += dy[int32(pixel * MAPS + map)]
    parts[t] = total
    cuda.syncthreads()
    if line == 0 and map < MAPS:
        for other in range(1, ADDERS // LANES):
            total += parts[int32(t + other * LANES)]
        work[int32(FIRST + cuda.blockIdx.x * MAPS + map)] = total
