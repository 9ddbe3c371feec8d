"""The gradient of a convolution's filters on tensor cores: rows are maps, columns (ky, kx, c), the depth is pixels.

Chunks are eight maps or channels of a pixel: slabs lie in shared memory pixel by pixel, and are turned when read.
"""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.gemm.names import (
    F1,
    clear,
    commit_copies,
    copy_quads,
    cuda,
    float32,
    int32,
    multiply_halves,
    quad,
    quotient,
    shift,
    store_pair,
    uint32,
    wait_for_copies,
)


@kernel
def copy_maps(
    tile, put, stage, work: F1, start, pixel, end, *, MAPS: int, A_LINES: int, A_SLOTS: int, A_PUT: int, A_STEP: int,
    EVEN: bool,
) -> None:  # fmt: skip
    """A thread's chunks of output pixels' maps; nothing from ``end`` on."""
    if EVEN:
        at = int32(start + pixel * (MAPS // 2))
        copy_quads(tile, put, stage, 0, work, at, 0, pixel < end, A_PUT, A_STEP, A_SLOTS)
    else:
        for i in range(A_SLOTS):
            here = int32(pixel + i * A_LINES)
            at = int32(start + here * (MAPS // 2))
            copy_quads(tile, put, stage, int32(i * A_PUT), work, at, 0, here < end, 0, 0, 1)


@kernel
def copy_taps(
    tile, put, stage, work: F1, start, y, x, pixel, end, *, OUT_H: int, OUT_W: int, OUT_H_INVERSE: int,
    OUT_W_INVERSE: int, HEIGHT: int, WIDTH: int, CHANNELS: int, SH: int, SW: int, B_LINES: int, B_SLOTS: int,
    B_PUT: int, B_STEP: int, EVEN: bool, SAME: bool, POINTWISE: bool,
) -> None:  # fmt: skip
    """A thread's chunks of what its tap meets at output pixels; nothing from ``end`` on."""
    if EVEN and POINTWISE:
        at = int32(start + pixel * (CHANNELS // 2))
        copy_quads(tile, put, stage, 0, work, at, 0, pixel < end, B_PUT, B_STEP, B_SLOTS)
    else:
        for i in range(B_SLOTS):
            here = uint32(pixel + i * B_LINES)
            down = quotient(here, OUT_W_INVERSE)
            image = quotient(down, OUT_H_INVERSE)
            ox, oy = int32(here - down * OUT_W), int32(down - image * OUT_H)
            iy, ix = int32(oy * SH + y), int32(ox * SW + x)
            # What is negative is beyond, too, as a number without sign; pixels of an even slab end together.
            height = uint32(HEIGHT) if (pixel if EVEN else int32(here)) < end else uint32(0)
            inside = uint32(iy) < height and uint32(ix) < WIDTH
            # Where output and input have the same pixels, a pixel's number is its place.
            place = uint32(pixel) if SAME else uint32((image * HEIGHT + oy * SH) * WIDTH + ox * SW)
            at, on = int32(start + place * (CHANNELS // 2)), int32(i * B_STEP if SAME else 0)
            copy_quads(tile, put, stage, int32(i * B_PUT), work, at, on, inside, 0, 0, 1)


@kernel
def tensor_weight_grad(
    work: F1, dw: F1, *, THREADS: int, RESIDENT: int, TILES: int, COLUMNS: int, ROWS: int, DEPTH: int, HIGH: int,
    WIDE: int, WARPS: int, SUMS: int, SHARED: int, STAGE: int, STAGES: int, A_SLAB: int, A_FIRST: int, INPUTS: int,
    CHANNELS: int, WIDTH: int, KW: int, DH: int, DW: int, TOP: int, LEFT: int, TOTAL: int, SPLITS: int, SPLIT: int,
    PARTS: int, OUT_ROWS: int, OUT_COLUMNS: int, OUT_PITCH: int, GROUPS: int,
) -> None:  # fmt: skip
    """dw = dy' windows(x) of the copies in bf16 over the split's pixels; maps in NHWC, filters in OHWI."""
    tile = cuda.shared.array(SHARED, quad)
    sums = cuda.local.array(SUMS, float32)

    t, block, z = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x), uint32(cuda.blockIdx.z)
    first_row, first_column = int32(block // TILES * ROWS), int32(block % TILES * COLUMNS)
    group, split = int32(z // SPLITS), int32(z % SPLITS)
    lane, warp = uint32(t % 32), uint32(t // 32)
    row, column = uint32(warp // WARPS * HIGH), uint32(warp % WARPS * WIDE)
    a_line, a_chunk = uint32(t // (ROWS // 8)), uint32(t % (ROWS // 8))
    b_line, b_chunk = uint32(t // (COLUMNS // 8)), uint32(t % (COLUMNS // 8))
    # Chunks are exchanged so that eight lines' same chunks lie in all banks.
    a_put = uint32(a_line * (ROWS // 2) + (a_chunk ^ (a_line & 7)) * 4)
    b_put = uint32(A_SLAB + b_line * (COLUMNS // 2) + (b_chunk ^ (b_line & 7)) * 4)
    # What is copied again for lines beyond the last is not stored.
    map = min(int32(first_row + a_chunk * 8), int32(OUT_ROWS - 8))
    maps = int32(A_FIRST + (group * OUT_ROWS + map) // 2)
    place = uint32(min(int32(first_column + b_chunk * 8), int32(OUT_COLUMNS - 8)))
    y, x = int32(place // (INPUTS * KW) * DH - TOP), int32(place // INPUTS % KW * DW - LEFT)
    start = int32((y * WIDTH + x) * (CHANNELS // 2) + int32(group * INPUTS + place % INPUTS) // 2)

    clear(sums, SUMS)
    k = int32(split * SPLIT)
    end = int32(min(k + SPLIT, TOTAL))
    ahead, stage, filled = k, int32(0), int32(0)
    for _ in range(STAGES - 1):
        copy_maps(tile, a_put, filled, work, maps, int32(ahead + a_line), end)
        copy_taps(tile, b_put, filled, work, start, y, x, int32(ahead + b_line), end)
        commit_copies()
        ahead, filled = int32(ahead + DEPTH), int32(filled + STAGE)
    while k < end:
        wait_for_copies(1)
        cuda.syncthreads()
        # All have multiplied the slab that lay where the next but one goes.
        copy_maps(tile, a_put, filled, work, maps, int32(ahead + a_line), end)
        copy_taps(tile, b_put, filled, work, start, y, x, int32(ahead + b_line), end)
        commit_copies()
        multiply_halves(sums, tile, t, row, column, stage, HIGH, WIDE, DEPTH, ROWS, COLUMNS, True)
        ahead, k = int32(ahead + DEPTH), int32(k + DEPTH)
        # The place that was multiplied is the next to be filled.
        filled = stage
        stage = int32(stage + STAGE) if stage < (STAGES - 1) * STAGE else int32(0)
    begin = int32(PARTS + (split * GROUPS + group) * OUT_ROWS * OUT_PITCH)
    row, column = int32(first_row + row + lane // 4), int32(first_column + column + lane % 4 * 2)
    for i in range(SUMS // 2):
        r, c = int32(row + i // (WIDE // 8) * 8), int32(column + i % (WIDE // 8) * 8)
        if r < OUT_ROWS and c < OUT_COLUMNS:
            store_pair(dw, int32(begin + r * OUT_PITCH + c), sums)
        shift(sums, 2, SUMS)
