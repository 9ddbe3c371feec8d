"""Batch normalisation backward: sums over segments of the rows, added in order, then one pass over the maps."""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.batch_norm.rows import add_lines, plane
from alexdsl_cuda.dialect import F1, cuda, float32, uint32
from alexdsl_cuda.quads import read, thread, write


@kernel
def slopes(
    dy: F1, x: F1, mean: F1, rstd: F1, work: F1, *, SIZE, CHANNELS, COLUMNS, LINES, GROUPS, ROWS, LENGTH, SEGMENTS,
    THREADS, SHARED,
) -> None:  # fmt: skip
    """work[run, segment] = the sums over the segment's rows of dy, and of dy times the normalised input."""
    totals = cuda.shared.array(SHARED, float32)
    alongs = cuda.shared.array(SHARED, float32)
    row = cuda.local.array(SIZE, float32)
    grad = cuda.local.array(SIZE, float32)
    centre = cuda.local.array(SIZE, float32)
    scale = cuda.local.array(SIZE, float32)
    total = cuda.local.array(SIZE, float32)
    along = cuda.local.array(SIZE, float32)
    t, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
    line, c = uint32(t // COLUMNS), uint32((block % GROUPS * COLUMNS + t % COLUMNS) * SIZE)
    segment, run = uint32(block // GROUPS % SEGMENTS), uint32(block // (GROUPS * SEGMENTS))
    i = uint32(segment * LENGTH + line)
    last = uint32(min(uint32(segment * LENGTH + LENGTH), uint32(ROWS)))
    for k in range(SIZE):
        total[k] = along[k] = float32(0.0)
    if c < CHANNELS:
        read(centre, mean, uint32(run * CHANNELS + c))
        read(scale, rstd, uint32(run * CHANNELS + c))
        while i < last:
            at = uint32((run * ROWS + i) * CHANNELS + c)
            read(row, x, at)
            read(grad, dy, at)
            for k in range(SIZE):
                total[k] += grad[k]
                along[k] += grad[k] * ((row[k] - centre[k]) * scale[k])
            i = uint32(i + LINES)
    for k in range(SIZE):
        totals[plane(t, k)], alongs[plane(t, k)] = total[k], along[k]
    cuda.syncthreads()
    if c < CHANNELS and line == 0:
        for k in range(SIZE):
            total[k], along[k] = add_lines(totals, t, k), add_lines(alongs, t, k)
        at = uint32((run * SEGMENTS + segment) * (2 * CHANNELS) + c)
        write(work, at, total)
        write(work, uint32(at + CHANNELS), along)


@kernel
def add_slopes(
    dweight: F1, dbias: F1, work: F1, *, CHANNELS, COLUMNS, LINES, RUNS, ROWS, SEGMENTS, THREADS,
) -> None:  # fmt: skip
    """The segments' sums added in order: dbias and dweight, and behind the segments' sums the means of every run."""
    totals = cuda.shared.array(THREADS, float32)
    alongs = cuda.shared.array(THREADS, float32)
    t = uint32(cuda.threadIdx.x)
    line, c = uint32(t // COLUMNS), uint32(cuda.blockIdx.x * COLUMNS + t % COLUMNS)
    all_total, all_along = float32(0.0), float32(0.0)
    for run in range(RUNS):
        total, along = float32(0.0), float32(0.0)
        segment = line
        while segment < SEGMENTS and c < CHANNELS:
            at = uint32((run * SEGMENTS + segment) * (2 * CHANNELS) + c)
            total += work[at]
            along += work[uint32(at + CHANNELS)]
            segment = uint32(segment + LINES)
        totals[t], alongs[t] = total, along
        cuda.syncthreads()
        if line == 0 and c < CHANNELS:
            total, along = add_lines(totals, t, 0), add_lines(alongs, t, 0)
            at = uint32((RUNS * SEGMENTS + run) * (2 * CHANNELS) + c)
            work[at], work[uint32(at + CHANNELS)] = total / float32(ROWS), along / float32(ROWS)
            all_total += total
            all_along += along
        cuda.syncthreads()
    if line == 0 and c < CHANNELS:
        dbias[c], dweight[c] = all_total, all_along


@kernel
def batch_norm_grad(
    dy: F1, x: F1, weight: F1, mean: F1, rstd: F1, dx: F1, work: F1, count: int, *, SIZE, CHANNELS, RUNS, ROWS,
    SEGMENTS, BATCH,
) -> None:  # fmt: skip
    """dx = weight rstd (dy - mean of dy - normalised mean of (dy normalised)); without BATCH only weight rstd dy."""
    t = thread()
    if t < uint32(count):
        row = cuda.local.array(SIZE, float32)
        grad = cuda.local.array(SIZE, float32)
        centre = cuda.local.array(SIZE, float32)
        scale = cuda.local.array(SIZE, float32)
        factor = cuda.local.array(SIZE, float32)
        total = cuda.local.array(SIZE, float32)
        along = cuda.local.array(SIZE, float32)
        at = uint32(t * SIZE)
        c, run = uint32(at % CHANNELS), uint32(at // (ROWS * CHANNELS))
        read(grad, dy, at)
        read(scale, rstd, uint32(run * CHANNELS + c))
        read(factor, weight, c)
        if BATCH:
            read(row, x, at)
            read(centre, mean, uint32(run * CHANNELS + c))
            means = uint32((RUNS * SEGMENTS + run) * (2 * CHANNELS) + c)
            read(total, work, means)
            read(along, work, uint32(means + CHANNELS))
            for k in range(SIZE):
                normal = (row[k] - centre[k]) * scale[k]
                grad[k] = grad[k] - total[k] - normal * along[k]
        for k in range(SIZE):
            grad[k] = grad[k] * scale[k] * factor[k]
        write(dx, at, grad)
