"""Arithmetic of f16 and bf16, alone and in pairs: computed in f32, rounded once to nearest."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl_cuda.emulator.emit import Emitter, accept
from alexdsl_cuda.emulator.ptx import WIDTHS, Instruction


def widen(e: Emitter, bits: str, type: str) -> str:
    """The f32 of a half's 16 bits."""
    if type == "f16":
        return e.let(f"fpext half {e.let(f'bitcast i16 {bits} to half')} to float")
    high = e.let(f"shl i32 {e.let(f'zext i16 {bits} to i32')}, 16")
    return e.let(f"bitcast i32 {high} to float")


def narrow(e: Emitter, value: str, type: str, mode: str = "rn") -> str:
    """The 16 bits of an f32 rounded to a half, to nearest or (bf16 only) towards zero."""
    if type == "f16":
        return e.let(f"bitcast half {e.let(f'fptrunc float {value} to half')} to i16")
    return e.let(f"call i16 @bf16_{mode}(float {value})")


def split(e: Emitter, value: str, type: str) -> list[str]:
    """The halves of a value, the lower first: one, or two of a pair."""
    if WIDTHS[type] == 16:
        return [value]
    return [e.let(f"trunc i32 {v} to i16") for v in (value, e.let(f"lshr i32 {value}, 16"))]


def join(e: Emitter, parts: Sequence[str]) -> str:
    """Halves back as one value."""
    if len(parts) == 1:
        return parts[0]
    low, high = (e.let(f"zext i16 {part} to i32") for part in parts)
    return e.let(f"or i32 {low}, {e.let(f'shl i32 {high}, 16')}")


def arithmetic(e: Emitter, i: Instruction) -> None:
    """``add``, ``sub``, ``mul``, ``fma``, ``min``, ``max``, ``abs`` and ``neg``."""
    accept(i, "rn", "NaN")
    type = i.types[0]
    one = type.removesuffix("x2")
    operands = [split(e, e.read(operand, type), type) for operand in i.operands[1:]]
    e.write(i.operands[0], join(e, [_one(e, i, one, parts) for parts in zip(*operands, strict=True)]), type)


def _one(e: Emitter, i: Instruction, type: str, parts: Sequence[str]) -> str:
    if i.root == "neg":
        return e.let(f"xor i16 {parts[0]}, -32768")
    if i.root == "abs":
        return e.let(f"and i16 {parts[0]}, 32767")
    values = [widen(e, part, type) for part in parts]
    listed = ", ".join(f"float {value}" for value in values)
    if i.root in ("add", "sub", "mul"):
        value = e.let(f"f{i.root} float {values[0]}, {values[1]}")
    elif i.root == "fma":
        # Rounded to odd first, so that the second rounding sees what the first lost.
        value = e.let(f"call float @fma_odd({listed})")
    elif i.root in ("min", "max"):
        value = e.let(f"call float @llvm.{i.root}imum{'' if 'NaN' in i.mods else 'num'}.f32({listed})")
    else:
        raise i.refuse("of halves it is not understood")
    return narrow(e, value, type)
