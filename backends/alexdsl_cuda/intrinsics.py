"""What compiled CUDA kernels call beyond Numba's own: 128-bit memory accesses, and products kept in registers.

Numba's indexing wraps negative indices, widens to 64 bits and moves a float at a time; in an inner loop that is most
of the work. Here an access is one instruction at ``array + at``. Four neighbouring floats are a quad. Registers are
``cuda.local.array``s which nothing but these functions touches, always at places known when compiling.

Every function is written twice: in Python, which says what it means and is what the simulator runs, and as the code
that it is compiled to. Capital parameters are constants: names of numbers in the kernel's source, never expressions.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import complex128, cuda, float32, int32, uint32
from numba.cuda.extending import intrinsic

if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") == "0":
    from numba.cuda import types
else:
    types = None

__all__ = [
    "clear", "cuda", "fetch", "float32", "int32", "load_quad", "multiply", "put_columns", "put_quad", "quad",
    "quotient", "refetch", "shift", "store_quad", "uint32",
]  # fmt: skip

quad = complex128
"""The type of shared arrays: sixteen bytes, because that is what an array's elements are aligned to."""

FLOAT, INT, LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
QUAD = ir.VectorType(FLOAT, 4)


@dataclass(frozen=True)
class Emit:
    """The code of one call: its arguments by name, and what is built of them."""

    context: Any
    builder: Any
    signature: Any
    args: dict[str, tuple[Any, Any]]

    def constant(self, name: str) -> int:
        return int(self.args[name][0].literal_value)

    def integer(self, name: str) -> Any:
        """An integer argument as 32 bits."""
        type, value = self.args[name]
        return self.context.cast(self.builder, value, type, types.uint32)

    def floats(self, name: str) -> Any:
        """A pointer to an array's first float."""
        type, value = self.args[name]
        data = self.context.make_array(type)(self.context, self.builder, value=value).data
        return self.builder.bitcast(data, FLOAT.as_pointer())

    def place(self, array: str, *indices: str) -> Any:
        """A pointer into an array; indices count floats, without sign. Each is added to the address by itself, so that
        what does not change in a loop stays out of it."""
        found = self.floats(array)
        for index in indices:
            found = self.builder.gep(found, [self.builder.zext(self.integer(index), LONG)])
        return found

    def piece(self, array: str, index: str, size: int) -> Any:
        """A pointer to the piece of that index in registers."""
        return self.builder.gep(self.floats(array), [self.builder.mul(self.integer(index), INT(size))])

    def beyond(self, pointer: Any, count: int) -> Any:
        return self.builder.gep(pointer, [INT(count)])

    def read(self, pointer: Any, count: int) -> list[Any]:
        return [self.builder.load(self.beyond(pointer, i)) for i in range(count)]

    def write(self, pointer: Any, values: list[Any]) -> None:
        for i, value in enumerate(values):
            self.builder.store(value, self.beyond(pointer, i))

    def read_quad(self, pointer: Any) -> list[Any]:
        found = self.builder.load(self.builder.bitcast(pointer, QUAD.as_pointer()), align=16)
        return [self.builder.extract_element(found, INT(i)) for i in range(4)]

    def write_quad(self, pointer: Any, values: list[Any]) -> None:
        packed = ir.Constant(QUAD, ir.Undefined)
        for i, value in enumerate(values):
            packed = self.builder.insert_element(packed, value, INT(i))
        self.builder.store(packed, self.builder.bitcast(pointer, QUAD.as_pointer()), align=16)


def emitted(emit: Callable[[Emit], Any], result: str = "void") -> Callable[[Callable[..., Any]], Any]:
    """Of a function in Python an intrinsic whose calls become the code that ``emit`` builds; the function itself in
    the simulator. ``result`` names the type of what is returned."""

    def made(meaning: Callable[..., Any]) -> Any:
        if types is None:
            return meaning
        parameters = inspect.signature(meaning).parameters

        def typing(context: Any, *given: Any) -> Any:
            arguments = dict(zip(parameters, given, strict=True))
            if any(name.isupper() and not hasattr(type, "literal_value") for name, type in arguments.items()):
                return None  # Numba asks once more, with the constants' values in their types.

            def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                args = dict(zip(parameters, zip(signature.args, values, strict=True), strict=True))
                value = emit(Emit(context, builder, signature, args))
                return context.get_dummy_value() if result == "void" else value

            return getattr(types, result)(*given), codegen

        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        typing.__signature__ = inspect.Signature([context, *parameters.values()])  # type: ignore[attr-defined]
        typing.__name__, typing.__doc__ = meaning.__name__, meaning.__doc__
        return intrinsic(typing)

    return made


def floats(array: Any) -> Any:
    """In the simulator: a shared array of quads as floats; other arrays are floats already."""
    return array.view(np.float32)


def _quotient(e: Emit) -> Any:
    inverse = e.constant("INVERSE")
    if not inverse:
        return e.integer("n")
    # As an instruction: a product of 64 bits would be carried through loops as such.
    asm = ir.InlineAsm(ir.FunctionType(INT, [INT]), f"mul.hi.u32 $0, $1, {inverse};", "=r,r")
    return e.builder.call(asm, [e.integer("n")], attrs=("nounwind", "readnone"))


@emitted(_quotient, "uint32")
def quotient(n: int, INVERSE: int) -> Any:
    """n divided by a constant, of which INVERSE is 2**32 // divisor + 1; 0 stands for the divisor 1.

    One instruction, and exact where n * divisor < 2**32; the compiler, which knows no bound of n, takes several.
    """
    return np.uint32(int(n) * INVERSE >> 32) if INVERSE else np.uint32(n)


def _clear(e: Emit) -> None:
    e.write(e.floats("registers"), [FLOAT(0.0)] * e.constant("COUNT"))


@emitted(_clear)
def clear(registers: Any, COUNT: int) -> None:
    """Zeros in the first COUNT registers."""
    registers[:COUNT] = 0


def _shift(e: Emit) -> None:
    count, by = e.constant("COUNT"), e.constant("BY")
    e.write(e.floats("registers"), e.read(e.beyond(e.floats("registers"), by), count - by))


@emitted(_shift)
def shift(registers: Any, BY: int, COUNT: int) -> None:
    """Move COUNT registers down by BY. A loop that does so needs no index, which would put them into memory."""
    registers[: COUNT - BY] = registers[BY:COUNT].copy()


def _fetch(e: Emit) -> None:
    size, step, builder = e.constant("SIZE"), e.constant("STEP"), e.builder
    start, kept = e.place("array", "at"), e.piece("registers", "piece", size)
    flag = builder.zext(e.context.cast(builder, e.args["inside"][1], e.args["inside"][0], types.boolean), INT)
    names = [f"${i}" for i in range(size)]
    lists = {1: ("", "$0"), 4: (".v4", "{$0, $1, $2, $3}")}
    vector, results = lists[size]
    zeros = " ".join(f"mov.b32 {name}, 0f00000000;" for name in names)
    for i in range(e.constant("COUNT")):
        load = f"@p ld.global.nc{vector}.f32 {results}, [${size} + {4 * i * step}];"
        text = f"{{ .reg .pred p; setp.ne.b32 p, ${size + 1}, 0; {zeros} {load} }}"
        made = FLOAT if size == 1 else ir.LiteralStructType([FLOAT] * size)
        constraints = ",".join(["=&f"] * size + ["l", "r"])
        asm = ir.InlineAsm(ir.FunctionType(made, [start.type, INT]), text, constraints, side_effect=True)
        found = builder.call(asm, [start, flag])
        values = [found] if size == 1 else [builder.extract_value(found, j) for j in range(size)]
        e.write(e.beyond(kept, i * size), values)


@emitted(_fetch)
def fetch(registers: Any, piece: int, array: Any, at: int, inside: bool, SIZE: int, STEP: int, COUNT: int) -> None:
    """COUNT pieces of SIZE floats (1 or 4), STEP apart, from an array that the kernel only reads; zeros, and no access
    to memory, unless ``inside``."""
    for i in range(COUNT):
        kept = slice((int(piece) + i) * SIZE, (int(piece) + i + 1) * SIZE)
        first = int(at) + i * STEP
        assert not inside or 0 <= first <= array.size - SIZE
        registers[kept] = array[first : first + SIZE] if inside else 0


def _refetch(e: Emit) -> None:
    start, kept = e.place("array", "at"), e.piece("registers", "piece", 4)
    flag = e.builder.zext(e.context.cast(e.builder, e.args["inside"][1], e.args["inside"][0], types.boolean), INT)
    text = "{ .reg .pred p; setp.ne.b32 p, $5, 0; @p ld.global.nc.v4.f32 {$0, $1, $2, $3}, [$4]; }"
    made = ir.LiteralStructType([FLOAT] * 4)
    before = e.read(kept, 4)
    type = ir.FunctionType(made, [start.type, INT, *[FLOAT] * 4])
    asm = ir.InlineAsm(type, text, "=f,=f,=f,=f,l,r,0,1,2,3", side_effect=True)
    found = e.builder.call(asm, [start, flag, *before])
    e.write(kept, [e.builder.extract_value(found, i) for i in range(4)])


@emitted(_refetch)
def refetch(registers: Any, piece: int, array: Any, at: int, inside: bool) -> None:
    """A quad from an array that the kernel only reads; unless ``inside`` the registers keep what they held."""
    if inside:
        assert 0 <= int(at) <= array.size - 4
        registers[4 * int(piece) : 4 * int(piece) + 4] = array[int(at) : int(at) + 4]


def _put_quad(e: Emit) -> None:
    e.write_quad(e.place("tile", "at", "stage"), e.read(e.piece("registers", "piece", 4), 4))


@emitted(_put_quad)
def put_quad(tile: Any, at: int, stage: int, registers: Any, piece: int) -> None:
    """A quad of registers to shared memory at stage + at."""
    floats(tile)[int(stage + at) : int(stage + at) + 4] = registers[4 * int(piece) : 4 * int(piece) + 4]


def _put_columns(e: Emit) -> None:
    size, step, pitch = e.constant("SIZE"), e.constant("STEP"), e.constant("PITCH")
    place, kept = e.place("tile", "at", "stage"), e.piece("registers", "piece", size)
    for i in range(e.constant("COUNT")):
        for j, value in enumerate(e.read(e.beyond(kept, i * size), size)):
            e.builder.store(value, e.beyond(place, (i * step + j) * pitch))


@emitted(_put_columns)
def put_columns(
    tile: Any, at: int, stage: int, registers: Any, piece: int, SIZE: int, STEP: int, COUNT: int, PITCH: int
) -> None:  # fmt: skip
    """What ``fetch`` fetched, down a column of shared memory from stage + at; its rows are PITCH floats."""
    for i in range(COUNT):
        for j in range(SIZE):
            floats(tile)[int(stage + at) + (i * STEP + j) * PITCH] = registers[(int(piece) + i) * SIZE + j]


def _load_quad(e: Emit) -> None:
    e.write(e.floats("registers"), e.read_quad(e.place("array", "at")))


@emitted(_load_quad)
def load_quad(registers: Any, array: Any, at: int) -> None:
    """A quad of global memory to the first four registers; no load at all where nothing reads them."""
    registers[:4] = array[int(at) : int(at) + 4]


def _store_quad(e: Emit) -> None:
    e.write_quad(e.place("array", "at"), e.read(e.floats("registers"), 4))


@emitted(_store_quad)
def store_quad(array: Any, at: int, registers: Any) -> None:
    """The first four registers to global memory."""
    assert 0 <= at <= array.size - 4
    array[int(at) : int(at) + 4] = registers[:4]


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
