"""Intrinsics that read the pieces around a place in a row, from global or from shared memory."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from alexdsl_cuda.intrinsics.emit import FLOAT, INT, Emit, emitted, floats


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
    live = e.flag("live")
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
