"""The intrinsic of products in fp32: sums of outer products of two slabs in shared memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from alexdsl_cuda.intrinsics.emit import Emit, emitted, floats


def _multiply(e: Emit) -> None:
    kept, builder = e.floats("sums"), e.builder
    rows, columns = e.constant("ROWS"), e.constant("COLUMNS")
    sums = e.read(kept, rows * columns)

    def quads(operand: str, k: int, count: int) -> list[Any]:
        pitch, step = e.constant(f"{operand}_PITCH"), e.constant(f"{operand}_STEP")
        row = e.beyond(e.place("tile", operand.lower(), "stage"), k * pitch)
        return [value for i in range(0, count, 4) for value in e.read_quad(e.beyond(row, i // 4 * step))]

    for k in range(e.constant("DEPTH")):
        left, right = quads("A", k, rows), quads("B", k, columns)
        for i, x in enumerate(left):
            for j, y in enumerate(right):
                sums[i * columns + j] = builder.fma(x, y, sums[i * columns + j])
    e.write(kept, sums)


@emitted(_multiply)
def multiply(
    sums: Any, tile: Any, a: int, b: int, stage: int, ROWS: int, COLUMNS: int, DEPTH: int, A_PITCH: int, A_STEP: int,
    B_PITCH: int, B_STEP: int,
) -> None:  # fmt: skip
    """sums[ROWS, COLUMNS] += the DEPTH outer products of two slabs in shared memory, at stage + a and stage + b.

    A thread's rows (columns) are quads A_STEP (B_STEP) apart; from one step of the depth to the next are A_PITCH
    (B_PITCH) floats.
    """
    flat, total = floats(tile), sums[: ROWS * COLUMNS].reshape(ROWS, COLUMNS)
    for k in range(DEPTH):
        left = [flat[int(stage + a) + k * A_PITCH + i // 4 * A_STEP + i % 4] for i in range(ROWS)]
        right = [flat[int(stage + b) + k * B_PITCH + i // 4 * B_STEP + i % 4] for i in range(COLUMNS)]
        total += np.outer(left, right)
