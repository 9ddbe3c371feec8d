"""Kernels written as the CUDA backend's are, to be compiled by numba-cuda: what the emulator's tests run."""

from __future__ import annotations

import math
from typing import Any

import numba
from numba import cuda, float32, int32, uint32

from tests.cuda_emulator.numba_intrinsics import (
    commit,
    copy16,
    load4,
    load4_or_zero,
    load_matrices,
    load_matrices_turned,
    multiply,
    outer,
    shared_address,
    store4,
    wait_for_all_but_one,
)


def sgemm(a: Any, b: Any, c: Any, rows: int, columns: int, depth: int) -> None:
    """c = a b in tiles of 128 x 128 x 8 by 256 threads, 8 x 8 results each; ``a`` is stored transposed in its tile."""
    tile_a = cuda.shared.array(1024, float32, 16)
    tile_b = cuda.shared.array(1024, float32, 16)
    sums = cuda.local.array(64, float32)
    for i in range(64):
        sums[i] = float32(0.0)
    t = uint32(cuda.threadIdx.x)
    row, column = uint32(cuda.blockIdx.y * uint32(128)), uint32(cuda.blockIdx.x * uint32(128))
    x, y = uint32((t & uint32(15)) * uint32(4)), uint32((t >> uint32(4)) * uint32(4))
    row_a, part_a = uint32(t >> uint32(1)), uint32((t & uint32(1)) * uint32(4))
    row_b, part_b = uint32(t >> uint32(5)), uint32((t & uint32(31)) * uint32(4))
    k = uint32(0)
    while k < uint32(depth):
        a0, a1, a2, a3 = load4(a, uint32((row + row_a) * uint32(depth) + k + part_a))
        b0, b1, b2, b3 = load4(b, uint32((k + row_b) * uint32(columns) + column + part_b))
        tile_a[uint32(part_a * uint32(128) + row_a)] = a0
        tile_a[uint32((part_a + uint32(1)) * uint32(128) + row_a)] = a1
        tile_a[uint32((part_a + uint32(2)) * uint32(128) + row_a)] = a2
        tile_a[uint32((part_a + uint32(3)) * uint32(128) + row_a)] = a3
        store4(tile_b, uint32(row_b * uint32(128) + part_b), b0, b1, b2, b3)
        cuda.syncthreads()
        for step in range(8):
            line = uint32(uint32(step) * uint32(128))
            outer(
                sums,
                load4(tile_a, uint32(line + y)), load4(tile_a, uint32(line + y + uint32(64))),
                load4(tile_b, uint32(line + x)), load4(tile_b, uint32(line + x + uint32(64))),
            )  # fmt: skip
        cuda.syncthreads()
        k = uint32(k + uint32(8))
    for i in range(8):
        down = uint32((uint32(i) >> uint32(2)) * uint32(64) + y + (uint32(i) & uint32(3)))
        at = uint32((row + down) * uint32(columns) + column + x)
        store4(c, at, sums[8 * i], sums[8 * i + 1], sums[8 * i + 2], sums[8 * i + 3])
        store4(c, uint32(at + uint32(64)), sums[8 * i + 4], sums[8 * i + 5], sums[8 * i + 6], sums[8 * i + 7])


def conv_nhwc(
    x: Any, w: Any, y: Any, images: int, height: int, width: int, channels: int, maps: int, size: int, pad: int
) -> None:
    """A convolution of stride 1 as a product of 128 x 128 x 8 tiles: pixels by maps; x is NHWC, w HWIO."""
    tile_a = cuda.shared.array(1024, float32, 16)
    tile_b = cuda.shared.array(1024, float32, 16)
    sums = cuda.local.array(64, float32)
    for i in range(64):
        sums[i] = float32(0.0)
    t = int32(cuda.threadIdx.x)
    row, column = int32(cuda.blockIdx.y * 128), int32(cuda.blockIdx.x * 128)
    across, down = int32((t & 15) * 4), int32((t >> 4) * 4)
    row_a, part_a = int32(t >> 1), int32((t & 1) * 4)
    row_b, part_b = int32(t >> 5), int32((t & 31) * 4)
    pixel = int32(row + row_a)
    oy, ox = int32(pixel // width % height), int32(pixel % width)
    n = int32(pixel // (height * width))
    ky, kx, c = int32(0), int32(0), int32(0)
    k = int32(0)
    while k < size * size * channels:
        iy, ix = int32(oy + ky - pad), int32(ox + kx - pad)
        inside = 0 <= iy < height and 0 <= ix < width and n < images
        a0, a1, a2, a3 = load4_or_zero(x, int32(((n * height + iy) * width + ix) * channels + c + part_a), inside)
        b0, b1, b2, b3 = load4_or_zero(w, int32((k + row_b) * maps + column + part_b), int32(column + part_b) < maps)
        tile_a[int32(part_a * 128 + row_a)] = a0
        tile_a[int32((part_a + 1) * 128 + row_a)] = a1
        tile_a[int32((part_a + 2) * 128 + row_a)] = a2
        tile_a[int32((part_a + 3) * 128 + row_a)] = a3
        store4(tile_b, int32(row_b * 128 + part_b), b0, b1, b2, b3)
        cuda.syncthreads()
        for step in range(8):
            line = int32(step * 128)
            outer(
                sums,
                load4(tile_a, int32(line + down)), load4(tile_a, int32(line + down + 64)),
                load4(tile_b, int32(line + across)), load4(tile_b, int32(line + across + 64)),
            )  # fmt: skip
        cuda.syncthreads()
        k = int32(k + 8)
        c = int32(c + 8)
        if c == channels:
            c = int32(0)
            kx = int32(kx + 1)
            if kx == size:
                kx = int32(0)
                ky = int32(ky + 1)
    for i in range(8):
        out = int32(row + (i >> 2) * 64 + down + (i & 3))
        if out < images * height * width:
            at = int32(out * maps + column + across)
            if column + across < maps:
                store4(y, at, sums[8 * i], sums[8 * i + 1], sums[8 * i + 2], sums[8 * i + 3])
            if column + across + 64 < maps:
                store4(y, int32(at + 64), sums[8 * i + 4], sums[8 * i + 5], sums[8 * i + 6], sums[8 * i + 7])


def conv_direct(
    x: Any, w: Any, bias: Any, y: Any, count: int, channels: int, height: int, width: int, maps: int, rows: int,
    columns: int, size: int, stride: int, pad: int, groups: int,
) -> None:  # fmt: skip
    """A convolution by its definition and a relu, a thread an output; x is NCHW, w OIHW."""
    at = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if at >= count:
        return
    ox = int32(at % columns)
    oy = int32(at // columns % rows)
    f = int32(at // (columns * rows) % maps)
    n = int32(at // (columns * rows * maps))
    inputs = int32(channels // groups)
    first = int32(n * channels + f // (maps // groups) * inputs)
    total = bias[f]
    for c in range(inputs):
        for ky in range(size):
            iy = int32(oy * stride + ky - pad)
            if 0 <= iy < height:
                image = int32(((first + c) * height + iy) * width)
                taps = int32(((f * inputs + c) * size + ky) * size)
                for kx in range(size):
                    ix = int32(ox * stride + kx - pad)
                    if 0 <= ix < width:
                        total += x[int32(image + ix)] * w[int32(taps + kx)]
    y[at] = max(total, float32(0.0))


def row_sums(x: Any, y: Any, columns: int) -> None:
    """The sum of each row by a block of 256 threads: within warps by shuffles, between them through shared memory."""
    parts = cuda.shared.array(8, float32)
    t = int32(cuda.threadIdx.x)
    row = int32(cuda.blockIdx.x)
    total = float32(0.0)
    k = t
    while k < columns:
        total += x[int32(row * columns + k)]
        k = int32(k + 256)
    step = int32(16)
    while step > 0:
        total += cuda.shfl_down_sync(0xFFFFFFFF, total, step)
        step = int32(step >> 1)
    if t & 31 == 0:
        parts[t >> 5] = total
    cuda.syncthreads()
    if t < 32:
        total = parts[t] if t < 8 else float32(0.0)
        step = int32(4)
        while step > 0:
            total += cuda.shfl_down_sync(0xFFFFFFFF, total, step)
            step = int32(step >> 1)
        if t == 0:
            y[row] = total


def maxpool(x: Any, y: Any, index: Any, count: int, height: int, width: int, rows: int, columns: int) -> None:
    """The largest of windows of 3 x 3 at stride 2, and which of the nine it is, the first if several are."""
    at = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if at >= count:
        return
    ox, oy = int32(at % columns), int32(at // columns % rows)
    plane = int32(at // (columns * rows) * height * width)
    best, where = float32(-math.inf), int32(0)
    for k in range(9):
        iy, ix = int32(oy * 2 + k // 3), int32(ox * 2 + k % 3)
        if iy < height and ix < width:
            value = x[int32(plane + iy * width + ix)]
            if value > best:
                best, where = value, int32(k)
    y[at] = best
    index[at] = where


def smooth(x: Any, y: Any, count: int) -> None:
    """Mathematical functions that CUDA's library makes of plain arithmetic."""
    at = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if at < count:
        v = x[at]
        y[at] = math.exp(-v) + math.tanh(v) + math.log(v) + math.pow(v, float32(-0.75)) + math.sqrt(v) + math.sin(v)


def smooth_double(x: Any, y: Any, count: int) -> None:
    """The same in double precision, where powers are calls."""
    at = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if at < count:
        v = x[at]
        y[at] = math.exp(-v) + math.tanh(v) + math.log(v) + v**-0.75 + math.sqrt(v) + math.sin(v) + v / 3.0


def mixed(a: Any, b: Any, c: Any, count: int) -> None:
    """Integers of several widths: Python's division and remainder, widening, narrowing."""
    at = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if at < count:
        a[at] = a[at] // 7 + a[at] % 5 - (a[at] >> 2)
        b[at] = b[at] // 3 + (b[at] << 5) + a[at]
        c[at] = (c[at] * 3 + a[at]) & 255


def bf16_gemm(a: Any, b: Any, c: Any, rows: int, columns: int, depth: int) -> None:
    """c = a b of bf16 in tiles of 64 x 64 x 32 by 128 threads, with a pipeline of three stages of copies.

    A row of a tile of ``a`` is 4 pieces of 16 bytes, of ``b`` 8; pieces are exchanged by row so that banks differ.
    """
    tile_a = cuda.shared.array(3 * 64 * 32, numba.types.uint16, 16)
    tile_b = cuda.shared.array(3 * 32 * 64, numba.types.uint16, 16)
    t = uint32(cuda.threadIdx.x)
    lane, warp = uint32(t & uint32(31)), uint32(t >> uint32(5))
    row, column = uint32(cuda.blockIdx.y * uint32(64)), uint32(cuda.blockIdx.x * uint32(64))
    zero = (float32(0.0), float32(0.0), float32(0.0), float32(0.0))
    s0, s1, s2, s3, s4, s5, s6, s7 = zero, zero, zero, zero, zero, zero, zero, zero
    fetched = uint32(0)
    steps = uint32(depth) // uint32(32)
    k = uint32(0)
    while k < uint32(steps + uint32(2)):
        # Two stages are fetched before the first product; empty groups keep the count of groups in step.
        if fetched < steps:
            stage = uint32(fetched % uint32(3))
            for piece in range(2):
                p = uint32(t + uint32(128) * uint32(piece))
                r, q = uint32(p >> uint32(2)), uint32(p & uint32(3))
                swapped = uint32(q ^ ((r >> uint32(1)) & uint32(3)))
                to = shared_address(tile_a, uint32(stage * uint32(2048) + r * uint32(32) + swapped * uint32(8)))
                copy16(to, a, uint32((row + r) * uint32(depth) + fetched * uint32(32) + q * uint32(8)))
                r, q = uint32(p >> uint32(3)), uint32(p & uint32(7))
                swapped = uint32(q ^ (r & uint32(7)))
                to = shared_address(tile_b, uint32(stage * uint32(2048) + r * uint32(64) + swapped * uint32(8)))
                copy16(to, b, uint32((fetched * uint32(32) + r) * uint32(columns) + column + q * uint32(8)))
        commit()
        fetched = uint32(fetched + uint32(1))
        if k >= uint32(2):
            stage = uint32((k - uint32(2)) % uint32(3))
            for half in range(2):
                r = uint32(warp * uint32(16) + (lane & uint32(15)))
                q = uint32(uint32(half) * uint32(2) + (lane >> uint32(4)))
                swapped = uint32(q ^ ((r >> uint32(1)) & uint32(3)))
                left = load_matrices(
                    shared_address(tile_a, uint32(stage * uint32(2048) + r * uint32(32) + swapped * uint32(8)))
                )
                r = uint32(uint32(half) * uint32(16) + (lane & uint32(15)))
                first = uint32(lane >> uint32(4))
                line = uint32(stage * uint32(2048) + r * uint32(64))
                m0 = load_matrices_turned(shared_address(tile_b, uint32(line + (first ^ (r & uint32(7))) * uint32(8))))
                m1 = load_matrices_turned(
                    shared_address(tile_b, uint32(line + ((first + uint32(2)) ^ (r & uint32(7))) * uint32(8)))
                )
                m2 = load_matrices_turned(
                    shared_address(tile_b, uint32(line + ((first + uint32(4)) ^ (r & uint32(7))) * uint32(8)))
                )
                m3 = load_matrices_turned(
                    shared_address(tile_b, uint32(line + ((first + uint32(6)) ^ (r & uint32(7))) * uint32(8)))
                )
                s0, s1 = multiply(left, m0[0], m0[1], s0), multiply(left, m0[2], m0[3], s1)
                s2, s3 = multiply(left, m1[0], m1[1], s2), multiply(left, m1[2], m1[3], s3)
                s4, s5 = multiply(left, m2[0], m2[1], s4), multiply(left, m2[2], m2[3], s5)
                s6, s7 = multiply(left, m3[0], m3[1], s6), multiply(left, m3[2], m3[3], s7)
        if k >= uint32(1):
            wait_for_all_but_one()
            cuda.syncthreads()
        k = uint32(k + uint32(1))
    sums = (s0, s1, s2, s3, s4, s5, s6, s7)
    for n in range(8):
        d = sums[n]
        out = uint32(row + warp * uint32(16) + (lane >> uint32(2)))
        at = uint32(out * uint32(columns) + column + uint32(n) * uint32(8) + (lane & uint32(3)) * uint32(2))
        c[at], c[at + uint32(1)] = d[0], d[1]
        low = uint32(at + uint32(8) * uint32(columns))
        c[low], c[low + uint32(1)] = d[2], d[3]
