"""Intrinsics between registers and memory: pieces of one float or four, loads under a predicate."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from alexdsl_cuda.intrinsics.emit import FLOAT, INT, Emit, emitted, floats


def _fetch(e: Emit) -> None:
    _loads(e, "")


def _refetch(e: Emit) -> None:
    _loads(e, "keep")


def _loads(e: Emit, mode: str) -> None:
    """Predicated loads; unless ``inside`` the registers are cleared, or keep what they held."""
    size, step, builder = e.constant("SIZE"), e.constant("STEP"), e.builder
    start, kept = e.place("array", "at"), e.piece("registers", "piece", size)
    flag = builder.zext(e.flag("inside"), INT)
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
