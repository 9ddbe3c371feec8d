"""Clipping by global norm on CUDA: sums of squares by blocks, added in a fixed order; then every gradient is scaled."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Types
from alexdsl_cuda.dialect import F1, cuda, float32, uint32
from alexdsl_cuda.offer import THREADS, Call, Offer
from alexdsl_cuda.quads import flat, read, size_of, thread, write
from alexdsl_cuda.reduce import halving, sum_of_block

CHUNK = 8 * THREADS
"""Numbers whose squares a block adds."""


@kernel
def squares(x: F1, work: F1, *, COUNT, CHUNK, THREADS) -> None:
    """The sum of the squares of every CHUNK of COUNT numbers, each by a block."""
    parts = cuda.shared.array(THREADS, float32)
    t, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
    i, end = uint32(block * CHUNK + t), uint32(min(COUNT, block * CHUNK + CHUNK))
    total = float32(0.0)
    while i < end:
        total += x[i] * x[i]
        i = uint32(i + THREADS)
    parts[t] = total
    total = sum_of_block(parts, t)
    if t == 0:
        work[block] = total


@kernel
def total_of(work: F1, y: F1, *, COUNT, THREADS) -> None:
    """y = the sum of COUNT numbers, by one block."""
    parts = cuda.shared.array(THREADS, float32)
    i = t = uint32(cuda.threadIdx.x)
    total = float32(0.0)
    while i < COUNT:
        total += work[i]
        i = uint32(i + THREADS)
    parts[t] = total
    total = sum_of_block(parts, t)
    if t == 0:
        y[0] = total


@kernel
def clip(x: F1, square_sum: F1, limit: float, count: int, *, SIZE) -> None:
    """x *= limit / norm, where the norm is more than that or no number; a thread scales SIZE numbers."""
    t = thread()
    norm = math.sqrt(square_sum[0])
    if t < uint32(count) and not norm <= limit:
        at = uint32(t * SIZE)
        numbers = cuda.local.array(SIZE, float32)
        read(numbers, x, at)
        for i in range(SIZE):
            numbers[i] *= limit / norm
        write(x, at, numbers)


class Clip(Offer):
    """``square_sum`` and ``clip``, the latter in place."""

    heads = ("square_sum", "clip")

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        same = operands[0].layout
        return ([same], [""]) if op.kind == "square_sum" else ([same, ""], [same])

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        return (Strategy("", 4 * -(-operands[0].elements // CHUNK) if op.kind == "square_sum" else 0),)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names, count = [f"%{name}" for name in op.operands], operands[0].elements
        if op.kind == "clip":
            size = size_of(count)
            return [flat(clip, (*names, float(op.attrs["limit"])), count // size, {"SIZE": size})]
        chunks, threads = -(-count // CHUNK), halving(min(count, CHUNK))
        constants = {"COUNT": count, "CHUNK": CHUNK, "THREADS": threads}
        each = Call(squares, (names[0], "workspace"), (chunks, 1, 1), constants, (threads, 1, 1))
        ends = halving(chunks)
        made = {"COUNT": chunks, "THREADS": ends}
        return [each, Call(total_of, ("workspace", f"%{op.name}"), (1, 1, 1), made, (ends, 1, 1))]
