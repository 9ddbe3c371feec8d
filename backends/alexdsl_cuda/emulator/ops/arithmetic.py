"""Integer arithmetic: sums, products, quotients and their like, with carries."""

from __future__ import annotations

from alexdsl_cuda.emulator.emit import Emitter, accept, llvm_type
from alexdsl_cuda.emulator.ops import floats, halves
from alexdsl_cuda.emulator.ptx import WIDTHS, Instruction

_HALVES = ("f16", "bf16", "f16x2", "bf16x2")


def arithmetic(e: Emitter, i: Instruction) -> None:
    """Sends an instruction to the kind of number that it computes with."""
    if any(type in _HALVES for type in i.types):
        halves.arithmetic(e, i)
    elif i.types[-1] in ("f32", "f64"):
        floats.arithmetic(e, i)
    else:
        _INTEGERS[i.root](e, i)


def _sum(e: Emitter, i: Instruction) -> None:
    accept(i, "cc", "sat")
    type = i.types[0]
    a, b = e.read(i.operands[1], type), e.read(i.operands[2], type)
    saturated = f"call i32 @llvm.s{i.root}.sat.i32(i32 {a}, i32 {b})"
    e.write(i.operands[0], e.let(saturated) if "sat" in i.mods else _with_carry(e, i, a, b, type), type)


def _with_carry(e: Emitter, i: Instruction, a: str, b: str, type: str) -> str:
    """a + b or a - b; the carry or borrow goes in where the opcode ends in c, and out where it says ``.cc``."""
    kind = llvm_type(type)
    name = "sub" if i.root.startswith("sub") else "add"
    carry_in, carry_out = i.root in ("addc", "subc", "madc"), "cc" in i.mods
    over = []
    given = e.let(f"zext i1 {e.carry()} to {kind}") if carry_in else None
    for term in (b, given):
        if term is None:
            continue
        if carry_out:
            pair = e.let(f"call {{{kind}, i1}} @llvm.u{name}.with.overflow.{kind}({kind} {a}, {kind} {term})")
            a = e.let(f"extractvalue {{{kind}, i1}} {pair}, 0")
            over.append(e.let(f"extractvalue {{{kind}, i1}} {pair}, 1"))
        else:
            a = e.let(f"{name} {kind} {a}, {term}")
    if carry_out:
        e.set_carry(over[0] if len(over) == 1 else e.let(f"or i1 {over[0]}, {over[1]}"))
    return a


def _product(e: Emitter, i: Instruction) -> tuple[str, str]:
    """The low or high half of a product, or all of it, and the type that this has."""
    type = i.types[0]
    kind, width, signed = llvm_type(type), WIDTHS[type], type[0] == "s"
    a, b = e.read(i.operands[1], type), e.read(i.operands[2], type)
    if "lo" in i.mods:
        return e.let(f"mul {kind} {a}, {b}"), type
    wide, extend = f"i{2 * width}", "sext" if signed else "zext"
    a, b = (e.let(f"{extend} {kind} {v} to {wide}") for v in (a, b))
    value = e.let(f"mul {wide} {a}, {b}")
    if "wide" in i.mods:
        return value, f"{type[0]}{2 * width}"
    if "hi" not in i.mods:
        raise i.refuse("neither .lo, .hi nor .wide")
    return e.let(f"trunc {wide} {e.let(f'lshr {wide} {value}, {width}')} to {kind}"), type


def _mul(e: Emitter, i: Instruction) -> None:
    accept(i, "lo", "hi", "wide")
    value, type = _product(e, i)
    e.write(i.operands[0], value, type)


def _mad(e: Emitter, i: Instruction) -> None:
    accept(i, "lo", "hi", "wide", "cc")
    value, type = _product(e, i)
    e.write(i.operands[0], _with_carry(e, i, value, e.read(i.operands[3], type), type), type)


def _quotient(e: Emitter, i: Instruction) -> None:
    """Division; by zero, which PTX leaves open, it gives all ones and the remainder is the dividend."""
    accept(i)
    type = i.types[0]
    kind, signed = llvm_type(type), type[0] == "s"
    a, b = e.read(i.operands[1], type), e.read(i.operands[2], type)
    zero = e.let(f"icmp eq {kind} {b}, 0")
    safe = e.let(f"select i1 {zero}, {kind} 1, {kind} {b}")
    if signed:
        # The smallest number by -1 overflows and would trap: it is itself, and leaves nothing.
        least = e.let(f"icmp eq {kind} {a}, {-(1 << (WIDTHS[type] - 1))}")
        over = e.let(f"and i1 {least}, {e.let(f'icmp eq {kind} {b}, -1')}")
        safe = e.let(f"select i1 {over}, {kind} 1, {kind} {safe}")
    value = e.let(f"{'s' if signed else 'u'}{i.root} {kind} {a}, {safe}")
    if signed and i.root == "rem":
        value = e.let(f"select i1 {over}, {kind} 0, {kind} {value}")
    other = "-1" if i.root == "div" else a
    e.write(i.operands[0], e.let(f"select i1 {zero}, {kind} {other}, {kind} {value}"), type)


def _extreme(e: Emitter, i: Instruction) -> None:
    accept(i)
    type = i.types[0]
    kind, sign = llvm_type(type), "s" if type[0] == "s" else "u"
    a, b = e.read(i.operands[1], type), e.read(i.operands[2], type)
    e.write(i.operands[0], e.let(f"call {kind} @llvm.{sign}{i.root}.{kind}({kind} {a}, {kind} {b})"), type)


def _sign(e: Emitter, i: Instruction) -> None:
    accept(i)
    type = i.types[0]
    kind, a = llvm_type(type), e.read(i.operands[1], type)
    value = f"sub {kind} 0, {a}" if i.root == "neg" else f"call {kind} @llvm.abs.{kind}({kind} {a}, i1 false)"
    e.write(i.operands[0], e.let(value), type)


_INTEGERS = {
    "add": _sum, "sub": _sum, "addc": _sum, "subc": _sum, "mul": _mul, "mad": _mad, "madc": _mad,
    "div": _quotient, "rem": _quotient, "min": _extreme, "max": _extreme, "abs": _sign, "neg": _sign,
}  # fmt: skip
OPS = dict.fromkeys((*_INTEGERS, "fma"), arithmetic)
