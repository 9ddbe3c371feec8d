"""The gradient of a convolution's filters on tensor cores: rows are maps, columns (ky, kx, c), the depth is pixels.

Chunks are eight maps or channels of a pixel: slabs lie in shared memory pixel by pixel, and are turned when read.
"""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.gemm.names import (
    F1,
    address,
    clear,
    commit_copies,
    copy_quads,
    cuda,
    float32,
    give_pairs,
    int32,
    int64,
    multiply_halves,
    quad,
    quotient,
    stay_rolled,
    take_pairs,
    uint32,
    wait_for_copies,
)
from alexdsl_cuda.gemm.tensor import finish_warp


@kernel
def chunk_places(puts, chunks, line, beside, pitch, SLOTS: int, *, LANES: int, TURN: int) -> None:
    """Which chunks of a pixel's line a thread copies, LANES at once with its neighbours, and where the first TURN of
    them go; those behind follow eight chunks later. Of TURN lines neighbours write to all banks."""
    for i in range(SLOTS):
        at = uint32(uint32(beside + i * LANES) ^ line % TURN * LANES)
        chunks[i] = uint32(at ^ (line & 7))
        if i < TURN:
            puts[i] = uint32(line * pitch + at * 4)


@kernel
def copy_maps(tile, puts, stage, work: F1, starts, pixel, inside, *, A_UNIT: int, TURN: int, A_SLOTS: int) -> None:
    """A thread's chunks of an output pixel's maps."""
    for i in range(A_SLOTS):
        copy_quads(tile, puts[i % TURN], stage, i // TURN * 32, work, starts[i], pixel, inside, A_UNIT, 0, 0, 1)


@kernel
def copy_taps(
    tile, puts, stage, work: F1, starts, taps, pixel, inside, *, OUT_H: int, OUT_W: int, OUT_H_INVERSE: int,
    OUT_W_INVERSE: int, HEIGHT: int, WIDTH: int, B_UNIT: int, SH: int, SW: int, TOP: int, LEFT: int, TURN: int,
    A_SLAB: int, B_SLOTS: int, SAME: bool, POINTWISE: bool, ROW: int, LAST: int, BEYOND: int, EDGES: int,
) -> None:  # fmt: skip
    """A thread's chunks of what its taps meet at an output pixel."""
    if POINTWISE:
        for i in range(B_SLOTS):
            ahead = A_SLAB + i // TURN * 32
            copy_quads(tile, puts[i % TURN], stage, ahead, work, starts[i], pixel, inside, B_UNIT, 0, 0, 1)
    else:
        down = quotient(pixel, OUT_W_INVERSE)
        image = quotient(down, OUT_H_INVERSE)
        ox, oy = uint32(pixel - down * OUT_W), uint32(down - image * OUT_H)
        # Where output and input have the same pixels, a pixel's number is its place.
        place = pixel if SAME else uint32((image * HEIGHT + oy * SH) * WIDTH + ox * SW)
        # Both coordinates in one number: what is beyond an edge is negative in one of two differences.
        first = uint32((oy * SH - TOP) * ROW + (ox * SW - LEFT)) if inside else uint32(BEYOND)
        for i in range(B_SLOTS):
            here = uint32(first + taps[i])
            within = uint32((here | uint32(LAST - here)) & EDGES) == 0
            ahead = A_SLAB + i // TURN * 32
            copy_quads(tile, puts[i % TURN], stage, ahead, work, starts[i], place, within, B_UNIT, 0, 0, 1)


@kernel
def tensor_weight_grad(
    work: F1, dw: F1, *, THREADS: int, RESIDENT: int, TILES: int, COLUMNS: int, ROWS: int, DEPTH: int, HIGH: int,
    WIDE: int, WARPS: int, SUMS: int, SHARED: int, STAGE: int, STAGES: int, PAIRS: int, LANES: int, TURN: int,
    A_SLOTS: int, A_FIRST: int, B_SLOTS: int, ROW: int, INPUTS: int, CHANNELS: int, WIDTH: int, KW: int, DH: int,
    DW: int, TOP: int, LEFT: int, TOTAL: int, SPLITS: int, SPLIT: int, PARTS: int, OUT_ROWS: int, OUT_COLUMNS: int,
    OUT_PITCH: int, GROUPS: int,
) -> None:  # fmt: skip
    """dw = dy' windows(x) of the copies in bf16 over the split's pixels; maps in NHWC, filters in OHWI."""
    tile = cuda.shared.array(SHARED, quad)
    sums = cuda.local.array(SUMS, float32)
    maps = cuda.local.array(A_SLOTS, int64)
    windows = cuda.local.array(B_SLOTS, int64)
    taps = cuda.local.array(B_SLOTS, uint32)
    a_chunks = cuda.local.array(A_SLOTS, uint32)
    b_chunks = cuda.local.array(B_SLOTS, uint32)
    a_puts = cuda.local.array(TURN, uint32)
    b_puts = cuda.local.array(TURN, uint32)

    t, block, z = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x), uint32(cuda.blockIdx.z)
    first_row, first_column = int32(block // TILES * ROWS), int32(block % TILES * COLUMNS)
    group, split = int32(z // SPLITS), int32(z % SPLITS)
    lane, warp = uint32(t % 32), uint32(t // 32)
    row, column = uint32(warp // WARPS * HIGH), uint32(warp % WARPS * WIDE)
    line, beside = uint32(t // LANES), uint32(t % LANES)
    chunk_places(a_puts, a_chunks, line, beside, ROWS // 2, A_SLOTS)
    chunk_places(b_puts, b_chunks, line, beside, COLUMNS // 2, B_SLOTS)
    # What is copied again for lines beyond the last is not stored.
    for i in range(A_SLOTS):
        map = min(int32(first_row + a_chunks[i] * 8), int32(OUT_ROWS - 8))
        maps[i] = address(work, int32(A_FIRST + (group * OUT_ROWS + map) // 2))
    for i in range(B_SLOTS):
        place = uint32(min(int32(first_column + b_chunks[i] * 8), int32(OUT_COLUMNS - 8)))
        y, x = int32(place // (INPUTS * KW) * DH), int32(place // INPUTS % KW * DW)
        taps[i] = uint32(y * ROW + x)
        at = int32(((y - TOP) * WIDTH + x - LEFT) * (CHANNELS // 2) + int32(group * INPUTS + place % INPUTS) // 2)
        windows[i] = address(work, at)

    clear(sums, SUMS)
    k = int32(split * SPLIT)
    end = int32(min(k + SPLIT, TOTAL))
    pixel, stage, filled = int32(k + line), int32(0), int32(0)
    for _ in range(STAGES - 1):
        copy_maps(tile, a_puts, filled, work, maps, uint32(pixel), pixel < end)
        copy_taps(tile, b_puts, filled, work, windows, taps, uint32(pixel), pixel < end)
        commit_copies()
        pixel, filled = int32(pixel + DEPTH), int32(filled + STAGE)
    while k < end:
        stay_rolled()
        wait_for_copies(1)
        cuda.syncthreads()
        # All have multiplied the slab that lay where the next but one goes.
        copy_maps(tile, a_puts, filled, work, maps, uint32(pixel), pixel < end)
        copy_taps(tile, b_puts, filled, work, windows, taps, uint32(pixel), pixel < end)
        commit_copies()
        multiply_halves(sums, tile, t, row, column, stage, HIGH, WIDE, DEPTH, ROWS, COLUMNS, True)
        pixel, k = int32(pixel + DEPTH), int32(k + DEPTH)
        # The place that was multiplied is the next to be filled.
        filled = stage
        stage = int32(stage + STAGE) if stage < (STAGES - 1) * STAGE else int32(0)
    begin = int32(PARTS + (split * GROUPS + group) * OUT_ROWS * OUT_PITCH)
    # Of 16 columns a thread has two pairs, eight apart: neighbours exchange one, and have four columns each.
    wait_for_copies(0)
    cuda.syncthreads()
    give_pairs(tile, uint32(t * 4), sums, t, SUMS, PAIRS)
    cuda.syncthreads()
    take_pairs(sums, tile, uint32((t ^ 1) * 4), t, SUMS, PAIRS)
    row = int32(first_row + row + lane // 4)
    column = int32(first_column + column + lane % 2 * 8 + lane % 4 // 2 * 4)
    finish_warp(sums, work, dw, dw, row, column, group, begin)
