"""What compiled kernels call to read windows of maps: from places before an array, and where windows overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from alexdsl_cuda.intrinsics.emit import FLOAT, INT, LONG, Emit, emitted, floats


def _fetch_on(e: Emit) -> None:
    size, builder = e.constant("SIZE"), e.builder
    start = builder.gep(e.floats("array"), [builder.sext(e.integer("at"), LONG)])
    start = builder.gep(start, [builder.zext(e.integer("on"), LONG)])
    vector, results = {1: ("", "$0"), 4: (".v4", "{$0, $1, $2, $3}")}[size]
    zeros = " ".join(f"mov.b32 ${i}, 0f00000000;" for i in range(size))
    load = f"@p ld.global.nc{vector}.f32 {results}, [${size}];"
    made = FLOAT if size == 1 else ir.LiteralStructType([FLOAT] * size)
    asm = ir.InlineAsm(
        ir.FunctionType(made, [start.type, INT]),
        f"{{ .reg .pred p; setp.ne.b32 p, ${size + 1}, 0; {zeros} {load} }}", ",".join(["=&f"] * size + ["l", "r"]),
        side_effect=True,
    )  # fmt: skip
    found = builder.call(asm, [start, e.integer("inside")])
    values = [found] if size == 1 else [builder.extract_value(found, i) for i in range(size)]
    e.write(e.piece("registers", "piece", size), values)


@emitted(_fetch_on)
def fetch_on(registers: Any, piece: int, array: Any, at: int, on: int, inside: bool, SIZE: int) -> None:
    """SIZE floats (1 or 4) of at + on, from an array that the kernel only reads; zeros, and no access to memory,
    unless ``inside``. ``at`` may lie before the array; each is added to the address by itself."""
    first = int(at) + int(on)
    assert not inside or 0 <= first <= array.size - SIZE
    registers[int(piece) * SIZE : (int(piece) + 1) * SIZE] = array[first : first + SIZE] if inside else 0


def _multiply_windows(e: Emit) -> None:
    kept, builder = e.floats("sums"), e.builder
    rows, columns, hop, first = (e.constant(name) for name in ("ROWS", "COLUMNS", "HOP", "FIRST"))
    sums, line = e.read(kept, rows * columns), e.place("tile", "b", "stage")
    held: dict[int, list[Any]] = {}
    # Of the first and the last quad, which are not used whole, compilers would read a part, in other widths.
    made = ir.LiteralStructType([FLOAT] * 4)

    def window_quad(q: int) -> list[Any]:
        if first <= 4 * q and 4 * q + 4 <= first + (e.constant("DEPTH") - 1) * hop + columns:
            return e.read_quad(e.beyond(line, 4 * q))
        pointer = builder.addrspacecast(e.beyond(line, 4 * q), FLOAT.as_pointer(3))
        asm = ir.InlineAsm(
            ir.FunctionType(made, [pointer.type]), "ld.volatile.shared.v4.f32 {$0, $1, $2, $3}, [$4];", "=f,=f,=f,=f,l",
            side_effect=True,
        )  # fmt: skip
        found = builder.call(asm, [pointer])
        return [builder.extract_value(found, i) for i in range(4)]

    for k in range(e.constant("DEPTH")):
        row = e.beyond(e.place("tile", "a", "stage"), k * e.constant("A_PITCH"))
        steps = range(rows // 4)
        left = [value for i in steps for value in e.read_quad(e.beyond(row, i * e.constant("A_STEP")))]
        begin = first + k * hop
        # What a window shares with the one before it is not read again.
        quads = range(begin // 4, (begin + columns + 3) // 4)
        held = {q: held.get(q) or window_quad(q) for q in quads}
        right = [held[place // 4][place % 4] for place in range(begin, begin + columns)]
        for i, x in enumerate(left):
            for j, y in enumerate(right):
                sums[i * columns + j] = builder.fma(x, y, sums[i * columns + j])
    e.write(kept, sums)


@emitted(_multiply_windows)
def multiply_windows(
    sums: Any, tile: Any, a: int, b: int, stage: int, ROWS: int, COLUMNS: int, DEPTH: int, A_PITCH: int, A_STEP: int,
    HOP: int, FIRST: int,
) -> None:  # fmt: skip
    """sums[ROWS, COLUMNS] += the DEPTH outer products of a slab's rows at stage + a, of which a thread has quads
    A_STEP apart, and of windows of COLUMNS floats, HOP apart from FIRST on, of the line at stage + b."""
    flat, total = floats(tile), sums[: ROWS * COLUMNS].reshape(ROWS, COLUMNS)
    for k in range(DEPTH):
        left = [flat[int(stage + a) + k * A_PITCH + i // 4 * A_STEP + i % 4] for i in range(ROWS)]
        begin = int(stage + b) + FIRST + k * HOP
        total += np.outer(left, flat[begin : begin + COLUMNS])
