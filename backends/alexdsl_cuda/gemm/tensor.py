"""Convolution on tensor cores: rows are output pixels, columns are maps, the depth is a window (ky, kx, c).

Operands are bf16, sums are fp32. Chunks of eight channels are copied to shared memory without passing registers, two
slabs ahead of the one that is multiplied. A linear layer is the convolution of images of one pixel, the gradient of a
convolution's input that of the output's gradient with the filters turned.
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
    int32,
    int64,
    multiply_halves,
    quad,
    quotient,
    shift,
    stay_rolled,
    uint32,
    wait_for_copies,
)
from alexdsl_cuda.gemm.pieces import finish_piece, row_of


@kernel
def window_places(
    work: F1, start, outside, first, group, *, PIXELS: int, OUT_H: int, OUT_W: int, HEIGHT: int, WIDTH: int,
    CHANNELS: int, INPUTS: int, KH: int, KW: int, SH: int, SW: int, DH: int, DW: int, TOP: int, LEFT: int, LINES: int,
    A_SLOTS: int, BEYOND: int,
) -> None:  # fmt: skip
    """Where the windows of a thread's pixels begin, and which taps lie outside of the image: a bit for each of their
    rows, then for each of their columns, and one that is always set. Beyond the last pixel it is the last one's window,
    of which nothing is stored."""
    for i in range(A_SLOTS):
        pixel = uint32(min(int32(first + i * LINES), int32(PIXELS - 1)))
        ox, oy, image = int32(pixel % OUT_W), int32(pixel // OUT_W % OUT_H), int32(pixel // (OUT_H * OUT_W))
        top, left = int32(oy * SH - TOP), int32(ox * SW - LEFT)
        at = int32(((image * HEIGHT + top) * WIDTH + left) * (CHANNELS // 2) + group * (INPUTS // 2))
        start[i] = address(work, at)
        bits = uint32(BEYOND)
        for ky in range(KH):
            bits = uint32(bits | (uint32(0) if 0 <= top + ky * DH < HEIGHT else uint32(1 << ky)))
        for kx in range(KW):
            bits = uint32(bits | (uint32(0) if 0 <= left + kx * DW < WIDTH else uint32(1 << KH + kx)))
        outside[i] = bits


@kernel
def copy_windows(
    tile, put, stage, work: F1, start, outside, at, end, *, WIDTH: int, CHANNELS: int, INPUTS: int, KH: int, KW: int,
    DH: int, DW: int, LINES: int, A_SLOTS: int, TAPS: int, TAP_INVERSE: int, INSIDE: bool, BEYOND: int,
) -> None:  # fmt: skip
    """A thread's chunks of its pixels' windows from float ``at`` on, two numbers each; nothing from ``end`` on."""
    tap = quotient(uint32(at), TAP_INVERSE) if TAPS > 1 else uint32(0)
    ky = row_of(tap)
    kx = uint32(tap - ky * KW)
    ahead = uint32((ky * DH * WIDTH + kx * DW) * (CHANNELS // 2) + uint32(at - tap * (INPUTS // 2)))
    asked = uint32(uint32(1) << ky | uint32(1 << KH) << kx) if at < end else uint32(BEYOND)
    for i in range(A_SLOTS):
        inside = at < end if INSIDE else uint32(outside[i] & asked) == 0
        copy_quads(tile, put, stage, int32(i * LINES * 16), work, start[i], ahead, inside, 1, 0, 0, 1)


@kernel
def copy_filters(
    tile, put, stage, work: F1, starts, at, end, *, LINES: int, B_SLOTS: int, B_PUT: int, B_STEP: int, B_FULL: bool
) -> None:
    """A thread's chunks of its lines of filters; nothing from ``end`` on."""
    if B_FULL:
        copy_quads(tile, put, stage, 0, work, starts[0], uint32(at), at < end, 1, B_PUT, B_STEP, B_SLOTS)
    else:
        for i in range(B_SLOTS):
            copy_quads(tile, put, stage, int32(i * LINES * 16), work, starts[i], uint32(at), at < end, 1, 0, 0, 1)


@kernel
def finish_warp(
    sums, bias: F1, other: F1, y: F1, row, column, group, start, *, OUT_ROWS: int, OUT_COLUMNS: int, OUT_PITCH: int,
    SUMS: int, WIDE: int,
) -> None:  # fmt: skip
    """A thread's sums to memory, quad by quad; they move down, so that the quad at hand is always the first."""
    for i in range(SUMS // 4):
        r, c = int32(row + i // (WIDE // 16) * 8), int32(column + i % (WIDE // 16) * 16)
        if r < OUT_ROWS and c < OUT_COLUMNS:
            finish_piece(sums, bias, other, y, int32(group * OUT_COLUMNS + c), int32(start + r * OUT_PITCH + c))
        shift(sums, 4, SUMS)


@kernel
def tensor_forward(
    work: F1, bias: F1, other: F1, y: F1, *, THREADS: int, RESIDENT: int, TILES: int, COLUMNS: int, ROWS: int,
    DEPTH: int, HIGH: int, WIDE: int, WARPS: int, SUMS: int, SHARED: int, STAGE: int, STAGES: int, LINES: int,
    A_SLOTS: int, A_SLAB: int, B_SLOTS: int, B_FIRST: int, TOTAL: int, SPLITS: int, SPLIT: int, PARTS: int,
    OUT_ROWS: int, OUT_COLUMNS: int, OUT_PITCH: int,
) -> None:  # fmt: skip
    """y = EPILOGUE(conv(x) + bias) of the copies in bf16; maps in NHWC, filters in OHWI."""
    tile = cuda.shared.array(SHARED, quad)
    sums = cuda.local.array(SUMS, float32)
    start = cuda.local.array(A_SLOTS, int64)
    outside = cuda.local.array(A_SLOTS, uint32)
    filters = cuda.local.array(B_SLOTS, int64)

    t, block, z = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x), uint32(cuda.blockIdx.z)
    first_row, first_column = int32(block // TILES * ROWS), int32(block % TILES * COLUMNS)
    group, split = int32(z // SPLITS), int32(z % SPLITS)
    lane, warp = uint32(t % 32), uint32(t // 32)
    row, column = uint32(warp // WARPS * HIGH), uint32(warp % WARPS * WIDE)
    line, chunk = uint32(t // 4), uint32(t % 4)
    # Chunks are exchanged so that eight lines' same chunks lie in all banks.
    a_put = uint32(line * 16 + (chunk ^ (line >> 1 & 3)) * 4)
    b_put = uint32(A_SLAB + a_put)
    window_places(work, start, outside, int32(first_row + line), group)
    for i in range(B_SLOTS):
        # A thread's results are quads if lines are in this order: of each sixteen 0, 1, 4, 5, ..., then 2, 3, 6, 7, ...
        to = uint32(line + i * LINES)
        ordered = int32(to // 16 * 16 + (to >> 1 & 3) * 4 + (to >> 3 & 1) * 2 + (to & 1))
        map = min(int32(first_column + ordered), int32(OUT_COLUMNS - 1))
        filters[i] = address(work, int32(B_FIRST + (group * OUT_COLUMNS + map) * (TOTAL // 2)))

    clear(sums, SUMS)
    at = int32(split * (SPLIT // 2) + chunk * 4)
    end = int32(min(split * SPLIT + SPLIT, TOTAL) // 2)
    stage, filled = int32(0), int32(0)
    for _ in range(STAGES - 1):
        copy_windows(tile, a_put, filled, work, start, outside, at, end)
        copy_filters(tile, b_put, filled, work, filters, at, end)
        commit_copies()
        at, filled = int32(at + DEPTH // 2), int32(filled + STAGE)
    k = int32(split * (SPLIT // 2))
    while k < end:
        stay_rolled()
        wait_for_copies(1)
        cuda.syncthreads()
        # All have multiplied the slab that lay where the next but one goes.
        copy_windows(tile, a_put, filled, work, start, outside, at, end)
        copy_filters(tile, b_put, filled, work, filters, at, end)
        commit_copies()
        multiply_halves(sums, tile, t, row, column, stage, HIGH, WIDE, DEPTH, ROWS, COLUMNS, False)
        at, k = int32(at + DEPTH // 2), int32(k + DEPTH // 2)
        # The place that was multiplied is the next to be filled.
        filled = stage
        stage = int32(stage + STAGE) if stage < (STAGES - 1) * STAGE else int32(0)
    begin = int32(PARTS + split * OUT_ROWS * OUT_PITCH + group * OUT_COLUMNS)
    row, column = int32(first_row + row + lane // 4), int32(first_column + column + lane % 4 * 4)
    finish_warp(sums, bias, other, y, row, column, group, begin)
