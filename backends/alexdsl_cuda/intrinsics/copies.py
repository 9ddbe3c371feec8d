"""Intrinsics that copy to shared memory without passing registers (cp.async), and wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from alexdsl_cuda.intrinsics.emit import INT, LONG, Emit, emitted, floats


def _copy_quads(e: Emit) -> None:
    to = e.shared("tile", e.integer("put"), e.integer("stage"), e.integer("ahead"))
    # ``at`` may lie before the array, where ``on`` leads into it.
    start = e.builder.gep(e.floats("array"), [e.builder.sext(e.integer("at"), LONG)])
    start = e.builder.gep(start, [e.builder.zext(e.integer("on"), LONG)])
    flag = e.flag("inside")
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
