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
    "clear", "commit_copies", "copy_quads", "cuda", "fetch", "float32", "halve", "int32", "load_quad", "multiply",
    "multiply_halves", "put_columns", "put_quad", "quad", "quotient", "refetch", "shift", "store_pair", "store_quad",
    "uint32", "wait_for_copies",
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
    _loads(e, "")


def _refetch(e: Emit) -> None:
    _loads(e, "keep")


def _loads(e: Emit, mode: str) -> None:
    """Predicated loads; unless ``inside`` the registers are cleared, or keep what they held."""
    size, step, builder = e.constant("SIZE"), e.constant("STEP"), e.builder
    start, kept = e.place("array", "at"), e.piece("registers", "piece", size)
    flag = builder.zext(e.context.cast(builder, e.args["inside"][1], e.args["inside"][0], types.boolean), INT)
    names = [f"${i}" for i in range(size)]
    vector, results = {1: ("", "$0"), 4: (".v4", "{$0, $1, $2, $3}")}[size]
    before = "" if mode else " ".join(f"mov.b32 {name}, 0f00000000;" for name in names)
    constraints = [*(["=f" if mode else "=&f"] * size), "l", "r", *(map(str, range(size)) if mode else ())]
    made = FLOAT if size == 1 else ir.LiteralStructType([FLOAT] * size)
    for i in range(e.constant("COUNT")):
        load = f"@p ld.global.nc{vector}.f32 {results}, [${size} + {4 * i * step}];"
        text = f"{{ .reg .pred p; setp.ne.b32 p, ${size + 1}, 0; {before} {load} }}"
        place = e.beyond(kept, i * size)
        given = [start, flag, *(e.read(place, size) if mode else ())]
        asm = ir.InlineAsm(
            ir.FunctionType(made, [g.type for g in given]), text, ",".join(constraints), side_effect=True
        )
        found = builder.call(asm, given)
        e.write(place, [found] if size == 1 else [builder.extract_value(found, j) for j in range(size)])


@emitted(_fetch)
def fetch(registers: Any, piece: int, array: Any, at: int, inside: bool, SIZE: int, STEP: int, COUNT: int) -> None:
    """COUNT pieces of SIZE floats (1 or 4), STEP apart, from an array that the kernel only reads; zeros, and no access
    to memory, unless ``inside``."""
    for i in range(COUNT):
        kept = slice((int(piece) + i) * SIZE, (int(piece) + i + 1) * SIZE)
        first = int(at) + i * STEP
        assert not inside or 0 <= first <= array.size - SIZE
        registers[kept] = array[first : first + SIZE] if inside else 0


@emitted(_refetch)
def refetch(registers: Any, piece: int, array: Any, at: int, inside: bool, SIZE: int, STEP: int, COUNT: int) -> None:
    """As ``fetch``; unless ``inside`` the registers keep what they held, which takes no instruction."""
    for i in range(COUNT if inside else 0):
        first = int(at) + i * STEP
        assert 0 <= first <= array.size - SIZE
        registers[(int(piece) + i) * SIZE : (int(piece) + i + 1) * SIZE] = array[first : first + SIZE]


def _put_quad(e: Emit) -> None:
    e.write_quad(e.place("tile", "at", "stage", "ahead"), e.read(e.piece("registers", "piece", 4), 4))


@emitted(_put_quad)
def put_quad(tile: Any, at: int, stage: int, ahead: int, registers: Any, piece: int) -> None:
    """A quad of registers to shared memory at stage + at + ahead."""
    first = int(stage) + int(at) + int(ahead)
    floats(tile)[first : first + 4] = registers[4 * int(piece) : 4 * int(piece) + 4]


def _put_columns(e: Emit) -> None:
    size, step, pitch = e.constant("SIZE"), e.constant("STEP"), e.constant("PITCH")
    place, kept = e.place("tile", "at", "stage", "ahead"), e.piece("registers", "piece", size)
    for i in range(e.constant("COUNT")):
        for j, value in enumerate(e.read(e.beyond(kept, i * size), size)):
            e.builder.store(value, e.beyond(place, (i * step + j) * pitch))


@emitted(_put_columns)
def put_columns(
    tile: Any, at: int, stage: int, ahead: int, registers: Any, piece: int, SIZE: int, STEP: int, COUNT: int, PITCH: int
) -> None:  # fmt: skip
    """What ``fetch`` fetched, down a column of shared memory from stage + at + ahead; its rows are PITCH floats."""
    first = int(stage) + int(at) + int(ahead)
    for i in range(COUNT):
        for j in range(SIZE):
            floats(tile)[first + (i * STEP + j) * PITCH] = registers[(int(piece) + i) * SIZE + j]


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


def _store_pair(e: Emit) -> None:
    pair = ir.Constant(ir.VectorType(FLOAT, 2), ir.Undefined)
    for i, value in enumerate(e.read(e.floats("registers"), 2)):
        pair = e.builder.insert_element(pair, value, INT(i))
    e.builder.store(pair, e.builder.bitcast(e.place("array", "at"), pair.type.as_pointer()), align=8)


@emitted(_store_pair)
def store_pair(array: Any, at: int, registers: Any) -> None:
    """The first two registers to global memory."""
    array[int(at) : int(at) + 2] = registers[:2]


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


def _approximate(name: str) -> Callable[[Emit], Any]:
    def emit(e: Emit) -> Any:
        asm = ir.InlineAsm(ir.FunctionType(FLOAT, [FLOAT]), f"{name}.approx.ftz.f32 $0, $1;", "=f,f")
        value = e.context.cast(e.builder, e.args["x"][1], e.args["x"][0], types.float32)
        return e.builder.call(asm, [value], attrs=("nounwind", "readnone"))

    return emit


@emitted(_approximate("sqrt"), "float32")
def root(x: float) -> Any:
    """The square root within a part 2**-23, as one instruction; subnormal numbers count as zeros."""
    return np.sqrt(np.float32(x))


@emitted(_approximate("rsqrt"), "float32")
def inverse_root(x: float) -> Any:
    """One over the square root within a part 2**-22.9, as one instruction; subnormal numbers count as zeros."""
    return np.float32(1) / np.sqrt(np.float32(x))


def _pieces(e: Emit, load: str, start: Any, live: Any, own: bool) -> None:
    """The pieces around ``start``, each loaded under a predicate; its own only if asked for."""
    size, behind, builder = e.constant("SIZE"), e.constant("BEHIND"), e.builder
    vector, list_ = {1: ("", "$0"), 4: (".v4", "{$0, $1, $2, $3}")}[size]
    zeros = " ".join(f"mov.b32 ${i}, 0f00000000;" for i in range(size))
    made = FLOAT if size == 1 else ir.LiteralStructType([FLOAT] * size)
    constraints = ",".join(["=&f"] * size + ["l", "r"])
    for piece in range(e.constant("PIECES")):
        by = piece * size - behind
        if by == 0 and not own:
            continue
        sign, end = (">=", -by) if by < 0 else ("<", e.constant("COUNT") - by)
        held = builder.and_(live, builder.icmp_unsigned(sign, e.integer("place"), INT(max(end, 0))))
        text = f"@p {load}{vector}.f32 {list_}, [${size} + {4 * by}];"
        asm = ir.InlineAsm(
            ir.FunctionType(made, [start.type, INT]),
            f"{{ .reg .pred p; setp.ne.b32 p, ${size + 1}, 0; {zeros} {text} }}", constraints, side_effect=True,
        )  # fmt: skip
        found = builder.call(asm, [start, builder.zext(held, INT)])
        values = [found] if size == 1 else [builder.extract_value(found, i) for i in range(size)]
        e.write(e.beyond(e.floats("registers"), piece * size), values)


def _fetch_around(e: Emit) -> None:
    live = e.context.cast(e.builder, e.args["live"][1], e.args["live"][0], types.boolean)
    _pieces(e, "ld.global.nc", e.place("array", "at"), live, True)


@emitted(_fetch_around)
def fetch_around(
    registers: Any, array: Any, at: int, place: int, live: bool, SIZE: int, COUNT: int, BEHIND: int, PIECES: int
) -> None:
    """PIECES pieces of SIZE floats (1 or 4) from BEHIND floats before array + at on, of an array that the kernel only
    reads. That at array + at is at ``place`` in a row of COUNT floats; zeros, and no access to memory, for pieces
    beyond the row, and for all unless ``live``."""
    for piece in range(PIECES):
        by = piece * SIZE - BEHIND
        held = live and 0 <= int(place) + by < COUNT
        first = int(at) + by
        assert not held or 0 <= first <= array.size - SIZE
        registers[piece * SIZE : (piece + 1) * SIZE] = array[first : first + SIZE] if held else 0


def _take_around(e: Emit) -> None:
    shared = e.builder.addrspacecast(e.place("tile", "at"), ir.PointerType(FLOAT, 3))
    _pieces(e, "ld.shared", shared, ir.Constant(ir.IntType(1), 1), False)


@emitted(_take_around)
def take_around(
    registers: Any, tile: Any, at: int, place: int, SIZE: int, COUNT: int, BEHIND: int, PIECES: int
) -> None:
    """What ``fetch_around`` does, from shared memory; of the piece at tile + at itself the registers keep what they
    hold."""
    for piece in range(PIECES):
        by = piece * SIZE - BEHIND
        if by != 0:
            held, first = 0 <= int(place) + by < COUNT, int(at) + by
            registers[piece * SIZE : (piece + 1) * SIZE] = floats(tile)[first : first + SIZE] if held else 0


def _take(e: Emit) -> None:
    place = e.place("tile", "at", "by")
    values = e.read_quad(place) if e.constant("SIZE") == 4 else e.read(place, 1)
    e.write(e.floats("registers"), values)


@emitted(_take)
def take(registers: Any, tile: Any, at: int, by: int, SIZE: int) -> None:
    """SIZE floats (1 or 4) of shared memory at tile + at + by to the first registers."""
    registers[:SIZE] = floats(tile)[int(at) + int(by) : int(at) + int(by) + SIZE]


def _put(e: Emit) -> None:
    place, size = e.place("tile", "at"), e.constant("SIZE")
    (e.write_quad if size == 4 else e.write)(place, e.read(e.floats("registers"), size))


@emitted(_put)
def put(tile: Any, at: int, registers: Any, SIZE: int) -> None:
    """The first SIZE registers (1 or 4) to shared memory."""
    floats(tile)[int(at) : int(at) + SIZE] = registers[:SIZE]


__all__ += ["fetch_around", "inverse_root", "put", "root", "take", "take_around"]


def _halve(e: Emit) -> None:
    kept = e.floats("registers")
    numbers = e.read(kept, 8)
    asm = ir.InlineAsm(ir.FunctionType(INT, [FLOAT, FLOAT]), "cvt.rn.bf16x2.f32 $0, $1, $2;", "=r,f,f")
    for i in range(4):
        # The first operand becomes the upper half.
        pair = e.builder.call(asm, [numbers[2 * i + 1], numbers[2 * i]], attrs=("nounwind", "readnone"))
        e.builder.store(e.builder.bitcast(pair, FLOAT), e.beyond(kept, i))


@emitted(_halve)
def halve(registers: Any) -> None:
    """Eight registers to bf16, rounded to nearest even, in the bits of the first four."""
    bits = registers[:8].view(np.uint32)
    rounded = np.where(np.isnan(registers[:8]), 0x7FFF, bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype(np.uint32)
    bits[:4] = rounded[::2] | rounded[1::2] << 16


def _shared(e: Emit, *floats: Any) -> Any:
    """The address in shared memory, in bytes, of that float of the tile; the summands are counts of floats."""
    pointer = e.builder.addrspacecast(e.floats("tile"), FLOAT.as_pointer(3))
    address = e.builder.ptrtoint(pointer, INT)
    for count in floats:
        address = e.builder.add(address, e.builder.shl(count, INT(2)))
    return address


def _copy_quads(e: Emit) -> None:
    to = _shared(e, e.integer("put"), e.integer("stage"), e.integer("ahead"))
    # ``at`` may lie before the array, where ``on`` leads into it.
    start = e.builder.gep(e.floats("array"), [e.builder.sext(e.integer("at"), LONG)])
    start = e.builder.gep(start, [e.builder.zext(e.integer("on"), LONG)])
    flag = e.context.cast(e.builder, e.args["inside"][1], e.args["inside"][0], types.boolean)
    taken = e.builder.select(e.builder.icmp_unsigned("!=", flag, flag.type(0)), INT(16), INT(0))
    kind = ir.FunctionType(ir.VoidType(), [INT, start.type, INT])
    for i in range(e.constant("COUNT")):
        places = f"[$0 + {4 * i * e.constant('PUT')}], [$1 + {4 * i * e.constant('STEP')}]"
        asm = ir.InlineAsm(kind, f"cp.async.cg.shared.global {places}, 16, $2;", "r,l,r", side_effect=True)
        e.builder.call(asm, [to, start, taken])


@emitted(_copy_quads)
def copy_quads(
    tile: Any, put: int, stage: int, ahead: int, array: Any, at: int, on: int, inside: bool, PUT: int, STEP: int,
    COUNT: int,
) -> None:  # fmt: skip
    """Starts to copy COUNT quads, from at + on, STEP apart, to shared memory at put + stage + ahead, PUT apart; zeros,
    and no access to global memory, unless ``inside``."""
    for i in range(COUNT):
        to, first = int(put) + int(stage) + int(ahead) + i * PUT, int(at) + int(on) + i * STEP
        assert not inside or 0 <= first <= array.size - 4
        floats(tile)[to : to + 4] = array[first : first + 4] if inside else 0


def _instruction(text: str) -> Callable[[Emit], None]:
    """The code of an instruction without operands."""

    def emit(e: Emit) -> None:
        given = text.format(**{name: e.constant(name) for name in e.args})
        e.builder.call(ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), given, "", side_effect=True), [])

    return emit


@emitted(_instruction("cp.async.commit_group;"))
def commit_copies() -> None:
    """The copies started since the last call are a group."""


@emitted(_instruction("cp.async.wait_group {COUNT};"))
def wait_for_copies(COUNT: int) -> None:
    """Waits until at most the last COUNT groups of this thread's copies are under way."""


def _multiply_halves(e: Emit) -> None:
    high, wide, depth = (e.constant(name) for name in ("HIGH", "WIDE", "DEPTH"))
    turned, builder, kept = bool(e.constant("TURNED")), e.builder, e.floats("sums")
    sums = e.read(kept, high * wide // 32)
    words = ir.LiteralStructType([INT] * 4)
    four = ir.LiteralStructType([FLOAT] * 4)
    load = f"ldmatrix.sync.aligned.m8n8.x4{'.trans' if turned else ''}.shared.b16 {{$0, $1, $2, $3}}, [$4 + "
    product = (
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"
    )
    mma = ir.InlineAsm(
        ir.FunctionType(four, [INT] * 6 + [FLOAT] * 4), product, "=f,=f,=f,=f,r,r,r,r,r,r,0,1,2,3", side_effect=False
    )
    lane = builder.and_(e.integer("t"), INT(31))

    def bits(value: Any, first: int, mask: int) -> Any:
        return builder.and_(builder.lshr(value, INT(first)), INT(mask))

    def origin(first: Any, pitch: int, below: Any, beyond: Any) -> Any:
        """The float of a lane's part of a 16 x 16 block whose lines (columns, if turned) begin at ``first``: of the
        lower or upper eight lines, the first or last eight of the depth."""
        if turned:
            line = builder.add(builder.shl(beyond, INT(3)), bits(lane, 0, 7))
            chunk = builder.xor(builder.add(builder.lshr(first, INT(3)), below), bits(lane, 0, 7))
        else:
            line = builder.add(first, builder.add(builder.shl(below, INT(3)), bits(lane, 0, 7)))
            chunk = builder.xor(beyond, bits(lane, 1, 3))
        return builder.add(builder.mul(line, INT(pitch)), builder.shl(chunk, INT(2)))

    def blocks(size: str, first: str, ahead: int, count: int, k: int) -> list[list[Any]]:
        """The fragments of ``count`` blocks of 16 lines at a step of the depth, in the order of their registers: the
        left operand's lines alternate before its depth does, the right one's depth before its lines."""
        pitch = e.constant(size) // 2 if turned else depth // 2
        below, beyond = (3, 4) if size == "ROWS" else (4, 3)
        base, found = origin(e.integer(first), pitch, bits(lane, below, 1), bits(lane, beyond, 1)), []
        for i in range(count):
            over, on = (i, k) if turned else (k, i)
            place = builder.xor(base, INT(8 * over))
            address = _shared(e, place, e.integer("stage"))
            text = f"{load}{4 * (ahead + on * 16 * pitch)}];"
            asm = ir.InlineAsm(ir.FunctionType(words, [INT]), text, "=r,=r,=r,=r,r", side_effect=True)
            matrices = builder.call(asm, [address])
            found.append([builder.extract_value(matrices, j) for j in range(4)])
        return found

    slab = e.constant("ROWS") * depth // 2
    for k in range(depth // 16):
        left = blocks("ROWS", "row", 0, high // 16, k)
        right = blocks("COLUMNS", "column", slab, wide // 16, k)
        for i, a in enumerate(left):
            for j, b in enumerate(right):
                for side in range(2):
                    at = [(2 * i + h) * (wide // 4) + 4 * j + 2 * side + n for h in range(2) for n in range(2)]
                    given = [*a, b[2 * side], b[2 * side + 1], *(sums[place] for place in at)]
                    made = builder.call(mma, given, attrs=("nounwind", "readnone"))
                    for n, place in enumerate(at):
                        sums[place] = builder.extract_value(made, n)
    e.write(kept, sums)


@emitted(_multiply_halves)
def multiply_halves(
    sums: Any, tile: Any, t: int, row: int, column: int, stage: int, HIGH: int, WIDE: int, DEPTH: int, ROWS: int,
    COLUMNS: int, TURNED: bool,
) -> None:  # fmt: skip
    """The warp's sums[HIGH, WIDE] += the product of two slabs of bf16, at ``stage`` and behind its ROWS lines.

    A slab holds ROWS (COLUMNS) lines of DEPTH, or TURNED, DEPTH lines of ROWS (COLUMNS); the warp's own begin at
    ``row`` and ``column``. Chunks of eight are exchanged: chunk c of line n lies at c ^ (n // 2 % 4), TURNED at
    c ^ (n % 8). Of each 8 x 8 sums a thread has two neighbours in row lane // 4; it keeps them row by row.
    """
    flat, lane = floats(tile).view(np.uint16), int(t) % 32

    def lines(first: int, count: int, size: int, ahead: int) -> Any:
        index, k = np.arange(int(first), int(first) + count)[:, None], np.arange(DEPTH)
        if TURNED:
            places = k * size + (index // 8 ^ k % 8) * 8 + index % 8
        else:
            places = index * DEPTH + (k // 8 ^ index // 2 % 4) * 8 + k % 8
        return (flat[2 * (int(stage) + ahead) + places].astype(np.uint32) << 16).view(np.float32)

    total = lines(row, HIGH, ROWS, 0) @ lines(column, WIDE, COLUMNS, ROWS * DEPTH // 2).T
    mine = total[lane // 4 :: 8].reshape(HIGH // 8, WIDE // 8, 8)[:, :, 2 * (lane % 4) : 2 * (lane % 4) + 2]
    sums[: HIGH * WIDE // 32] += mine.ravel()
