"""Intrinsics that copy to shared memory without passing registers (cp.async), and wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from alexdsl_cuda.intrinsics.emit import INT, LONG, Emit, emitted, floats


def _behind(e: Emit, base: Any, count: Any, sign: str, unit: int) -> Any:
    """The address so many times ``unit`` floats behind another: hidden from the compiler, which would take it apart and
    add up most of it in 64 bits anew in every turn of a loop. Machine code needs one instruction."""
    text = f"{{ .reg .b64 d; mul.wide.{sign}32 d, $1, {4 * unit}; add.s64 $0, d, $2; }}"
    asm = ir.InlineAsm(ir.FunctionType(LONG, [INT, LONG]), text, "=l,r,l")
    return e.builder.call(asm, [count, base], attrs=("nounwind", "readnone"))


def _address(e: Emit) -> Any:
    return _behind(e, e.builder.ptrtoint(e.floats("array"), LONG), e.integer("at"), "s", 1)


@emitted(_address, "int64")
def address(array: Any, at: int) -> Any:
    """For ``copy_quads`` the place of array + at, which may lie before the array: its address, in Python ``at``."""
    return np.int64(at)


def _copy_quads(e: Emit) -> None:
    asm = ir.InlineAsm(ir.FunctionType(INT, [INT, INT]), "mad.lo.u32 $0, $1, 4, $2;", "=r,r,r")
    given = [e.integer("stage"), e.shared("tile", e.integer("put"))]
    to = e.builder.call(asm, given, attrs=("nounwind", "readnone"))
    to = e.builder.add(to, e.builder.shl(e.integer("ahead"), INT(2)))
    start = _behind(e, e.long("start"), e.integer("on"), "u", e.constant("UNIT"))
    flag = e.flag("inside")
    taken = e.builder.select(e.builder.icmp_unsigned("!=", flag, flag.type(0)), INT(16), INT(0))
    kind = ir.FunctionType(ir.VoidType(), [INT, LONG, INT])
    for i in range(e.constant("COUNT")):
        places = f"[$0 + {4 * i * e.constant('PUT')}], [$1 + {4 * i * e.constant('STEP')}]"
        asm = ir.InlineAsm(kind, f"cp.async.cg.shared.global {places}, 16, $2;", "r,l,r", side_effect=True)
        e.builder.call(asm, [to, start, taken])


@emitted(_copy_quads)
def copy_quads(
    tile: Any, put: int, stage: int, ahead: int, array: Any, start: int, on: int, inside: bool, UNIT: int, PUT: int,
    STEP: int, COUNT: int,
) -> None:  # fmt: skip
    """Starts to copy COUNT quads of an array, from UNIT * on floats behind the address ``start``, STEP apart, to shared
    memory at put + stage + ahead, PUT apart; zeros, and no access to global memory, unless ``inside``."""
    for i in range(COUNT):
        to, first = int(put) + int(stage) + int(ahead) + i * PUT, int(start) + UNIT * int(on) + i * STEP
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


# The quotes as LLVM writes them in a string.
@emitted(_instruction(r".pragma \22nounroll\22;"))
def stay_rolled() -> None:
    """The loop that begins so stays a loop, even if it is known to take but a few turns."""
