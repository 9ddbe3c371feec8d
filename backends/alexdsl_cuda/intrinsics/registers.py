"""Intrinsics of numbers in registers: cleared, moved, and functions of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from alexdsl_cuda.intrinsics.emit import FLOAT, INT, Emit, emitted


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


def _approximate(name: str) -> Callable[[Emit], Any]:
    def emit(e: Emit) -> Any:
        asm = ir.InlineAsm(ir.FunctionType(FLOAT, [FLOAT]), f"{name}.approx.ftz.f32 $0, $1;", "=f,f")
        value = e.number("x")
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
