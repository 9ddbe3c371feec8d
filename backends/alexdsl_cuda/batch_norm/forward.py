"""Batch normalisation forward: means and variances merged from segments of the rows, then one pass over the maps."""

from __future__ import annotations

import math

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.batch_norm.rows import merge_lines, plane
from alexdsl_cuda.dialect import F1, Function, cuda, float32, uint32
from alexdsl_cuda.quads import read, thread, write


@kernel
def moments(
    x: F1, work: F1, *, SIZE, CHANNELS, COLUMNS, LINES, GROUPS, ROWS, LENGTH, SEGMENTS, THREADS, SHARED,
) -> None:  # fmt: skip
    """work[run, segment] = the mean of the segment's rows, and the sum of their squared distances from it."""
    means = cuda.shared.array(SHARED, float32)
    spreads = cuda.shared.array(SHARED, float32)
    counts = cuda.shared.array(THREADS, float32)
    row = cuda.local.array(SIZE, float32)
    centre = cuda.local.array(SIZE, float32)
    total = cuda.local.array(SIZE, float32)
    squares = cuda.local.array(SIZE, float32)
    t, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
    line, c = uint32(t // COLUMNS), uint32((block % GROUPS * COLUMNS + t % COLUMNS) * SIZE)
    segment, run = uint32(block // GROUPS % SEGMENTS), uint32(block // (GROUPS * SEGMENTS))
    i = uint32(segment * LENGTH + line)
    last = uint32(min(uint32(segment * LENGTH + LENGTH), uint32(ROWS)))
    seen = float32(0.0)
    for k in range(SIZE):
        centre[k] = total[k] = squares[k] = float32(0.0)
    if c < CHANNELS:
        if i < last:
            # Distances from a row of the segment's own lose few digits when they are squared and summed.
            read(centre, x, uint32((run * ROWS + i) * CHANNELS + c))
        while i < last:
            read(row, x, uint32((run * ROWS + i) * CHANNELS + c))
            for k in range(SIZE):
                distance = row[k] - centre[k]
                total[k] += distance
                squares[k] += distance * distance
            seen += float32(1.0)
            i = uint32(i + LINES)
    share = float32(1.0) / (seen if seen > float32(0.0) else float32(1.0))
    for k in range(SIZE):
        means[plane(t, k)] = centre[k] + total[k] * share
        spreads[plane(t, k)] = squares[k] - total[k] * (total[k] * share)
    counts[t] = seen
    cuda.syncthreads()
    if c < CHANNELS and line == 0:
        for k in range(SIZE):
            total[k], squares[k] = merge_lines(means, spreads, counts, t, k)
        at = uint32((run * SEGMENTS + segment) * (2 * CHANNELS) + c)
        write(work, at, total)
        write(work, uint32(at + CHANNELS), squares)


@kernel
def statistics(
    mean: F1, rstd: F1, running_mean: F1, running_variance: F1, work: F1, momentum: float, epsilon: float, *,
    CHANNELS, COLUMNS, LINES, RUNS, ROWS, LENGTH, SEGMENTS, THREADS,
) -> None:  # fmt: skip
    """The segments' moments merged: mean and 1 / sqrt(variance + epsilon) of every run, a step of the running ones."""
    means = cuda.shared.array(THREADS, float32)
    spreads = cuda.shared.array(THREADS, float32)
    counts = cuda.shared.array(THREADS, float32)
    t = uint32(cuda.threadIdx.x)
    line, c = uint32(t // COLUMNS), uint32(cuda.blockIdx.x * COLUMNS + t % COLUMNS)
    middle, breadth = float32(0.0), float32(0.0)
    for run in range(RUNS):
        centre, spread, seen = float32(0.0), float32(0.0), float32(0.0)
        segment = line
        while segment < SEGMENTS and c < CHANNELS:
            at = uint32((run * SEGMENTS + segment) * (2 * CHANNELS) + c)
            rows = uint32(ROWS - segment * LENGTH)
            count = float32(min(rows, uint32(LENGTH)))
            distance, share = work[at] - centre, count / (seen + count)
            spread += work[uint32(at + CHANNELS)] + distance * distance * (share * seen)
            centre += distance * share
            seen += count
            segment = uint32(segment + LINES)
        means[t], spreads[t], counts[t] = centre, spread, seen
        cuda.syncthreads()
        if line == 0 and c < CHANNELS:
            centre, spread = merge_lines(means, spreads, counts, t, 0)
            mean[uint32(run * CHANNELS + c)] = centre
            rstd[uint32(run * CHANNELS + c)] = float32(1.0) / math.sqrt(spread / float32(ROWS) + epsilon)
            middle += centre
            breadth += spread / float32(ROWS - 1)
        cuda.syncthreads()
    if line == 0 and c < CHANNELS:
        new = float32(1.0) - momentum
        running_mean[c] = momentum * running_mean[c] + new * (middle / float32(RUNS))
        running_variance[c] = momentum * running_variance[c] + new * (breadth / float32(RUNS))


@kernel
def frozen(mean: F1, rstd: F1, running_mean: F1, running_variance: F1, epsilon: float, count: int) -> None:
    """The running statistics in place of a batch's."""
    c = thread()
    if c < uint32(count):
        mean[c] = running_mean[c]
        rstd[c] = float32(1.0) / math.sqrt(running_variance[c] + epsilon)


@kernel
def normalise(
    x: F1, weight: F1, bias: F1, mean: F1, rstd: F1, y: F1, count: int, *, SIZE, CHANNELS, ROWS, EPILOGUE: Function,
) -> None:  # fmt: skip
    """y = EPILOGUE((x - mean) rstd weight + bias); a thread makes SIZE channels of a row."""
    t = thread()
    if t < uint32(count):
        value = cuda.local.array(SIZE, float32)
        centre = cuda.local.array(SIZE, float32)
        scale = cuda.local.array(SIZE, float32)
        factor = cuda.local.array(SIZE, float32)
        shift = cuda.local.array(SIZE, float32)
        at = uint32(t * SIZE)
        c, of_run = uint32(at % CHANNELS), uint32(at // (ROWS * CHANNELS) * CHANNELS + at % CHANNELS)
        read(value, x, at)
        read(centre, mean, of_run)
        read(scale, rstd, of_run)
        read(factor, weight, c)
        read(shift, bias, c)
        for k in range(SIZE):
            value[k] = EPILOGUE((value[k] - centre[k]) * scale[k] * factor[k] + shift[k])
        write(y, at, value)
