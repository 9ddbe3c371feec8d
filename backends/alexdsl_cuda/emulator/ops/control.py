"""Calls of functions of the same PTX text; no others exist here."""

from __future__ import annotations

from alexdsl_cuda.emulator.emit import Emitter
from alexdsl_cuda.emulator.ptx import Group, Instruction, Operand, Symbol


def callee(i: Instruction) -> str:
    """The name of the function that an instruction calls."""
    for operand in i.operands:
        if isinstance(operand, Symbol):
            return operand.name
    raise i.refuse("calls through pointers are not understood")


def _names(operand: Operand) -> list[str]:
    return [item.name for item in operand.items if isinstance(item, Symbol)] if isinstance(operand, Group) else []


def _call(e: Emitter, i: Instruction) -> None:
    at = next(k for k, operand in enumerate(i.operands) if isinstance(operand, Symbol))
    returned = _names(i.operands[0]) if at else []
    given = _names(i.operands[at + 1]) if len(i.operands) > at + 1 else []
    pointers = "".join(f', ptr %"param.{name}"' for name in (*returned, *given))
    e.do(f'call void @"func.{callee(i)}"(ptr %ctx, i32 %t, ptr %shared{pointers})')


def _nothing(e: Emitter, i: Instruction) -> None:
    """``brkpt`` and ``pmevent`` speak to tools."""


OPS = {"call": _call, "brkpt": _nothing, "pmevent": _nothing}
