"""Bitwise logic, shifts, fields of bits and permutations of bytes."""

from __future__ import annotations

from alexdsl_cuda.emulator.emit import Emitter, accept, llvm_type
from alexdsl_cuda.emulator.ptx import WIDTHS, Imm, Instruction


def _logic(e: Emitter, i: Instruction) -> None:
    accept(i)
    type = i.types[0]
    kind = llvm_type(type)
    a = e.read(i.operands[1], type)
    if i.root == "not":
        value = e.let(f"xor {kind} {a}, -1")
    elif i.root == "cnot":
        value = e.let(f"zext i1 {e.let(f'icmp eq {kind} {a}, 0')} to {kind}")
    else:
        value = e.let(f"{i.root} {kind} {a}, {e.read(i.operands[2], type)}")
    e.write(i.operands[0], value, type)


def _shift(e: Emitter, i: Instruction) -> None:
    """Amounts count as unsigned 32 bits; from the width on they shift everything out."""
    accept(i)
    type = i.types[0]
    kind, width = llvm_type(type), WIDTHS[type]
    a, amount = e.read(i.operands[1], type), e.read(i.operands[2], "u32")
    arithmetic = i.root == "shr" and type[0] == "s"
    far = e.let(f"icmp ugt i32 {amount}, {width - 1}")
    by = e.resize(e.let(f"select i1 {far}, i32 {width - 1}, i32 {amount}"), "i32", kind)
    name = "shl" if i.root == "shl" else "ashr" if arithmetic else "lshr"
    value = e.let(f"{name} {kind} {a}, {by}")
    e.write(i.operands[0], value if arithmetic else e.let(f"select i1 {far}, {kind} 0, {kind} {value}"), type)


def _funnel(e: Emitter, i: Instruction) -> None:
    """``shf``: 32 bits out of the 64 that b (above) and a (below) make, shifted."""
    accept(i, "l", "r", "wrap", "clamp")
    low, high, amount = (e.read(i.operands[k], "b32") for k in (1, 2, 3))
    most = 31 if "wrap" in i.mods else 32
    by = e.let(f"and i32 {amount}, 31" if most == 31 else f"call i32 @llvm.umin.i32(i32 {amount}, i32 32)")
    wide = e.let(f"zext i32 {by} to i64")
    above = e.let(f"shl i64 {e.let(f'zext i32 {high} to i64')}, 32")
    both = e.let(f"or i64 {above}, {e.let(f'zext i32 {low} to i64')}")
    if "l" in i.mods:
        both = e.let(f"lshr i64 {e.let(f'shl i64 {both}, {wide}')}, 32")
    else:
        both = e.let(f"lshr i64 {both}, {wide}")
    e.write(i.operands[0], e.let(f"trunc i64 {both} to i32"), "b32")


def _lookup(e: Emitter, i: Instruction) -> None:
    """``lop3``: each bit of the table says what three bits become."""
    accept(i)
    a, b, c = (e.read(i.operands[k], "b32") for k in (1, 2, 3))
    table = i.operands[4]
    if not isinstance(table, Imm):
        raise i.refuse("a table that is no constant")
    value = "0"
    for row in range(8):
        if table.value >> row & 1:
            terms = [v if row >> bit & 1 else e.let(f"xor i32 {v}, -1") for v, bit in ((a, 2), (b, 1), (c, 0))]
            both = e.let(f"and i32 {terms[0]}, {terms[1]}")
            value = e.let(f"or i32 {value}, {e.let(f'and i32 {both}, {terms[2]}')}")
    e.write(i.operands[0], value, "b32")


def _field(e: Emitter, i: Instruction, position: int) -> tuple[str, str, str, str]:
    """A field's position and length (8 bits each), as many ones as it is long, and whether it lies outside."""
    kind, width = llvm_type(i.types[0]), WIDTHS[i.types[0]]
    at, length = (e.let(f"and i32 {e.read(i.operands[k], 'u32')}, 255") for k in (position, position + 1))
    long = e.let(f"icmp ugt i32 {length}, {width - 1}")
    by = e.resize(e.let(f"select i1 {long}, i32 0, i32 {length}"), "i32", kind)
    ones = e.let(f"sub {kind} {e.let(f'shl {kind} 1, {by}')}, 1")
    return at, length, e.let(f"select i1 {long}, {kind} -1, {kind} {ones}"), e.let(f"icmp ugt i32 {at}, {width - 1}")


def _insert(e: Emitter, i: Instruction) -> None:
    """``bfi``: the first bits of a put into b at a position, for a length."""
    accept(i)
    type = i.types[0]
    kind = llvm_type(type)
    a, b = e.read(i.operands[1], type), e.read(i.operands[2], type)
    at, _, ones, out = _field(e, i, 3)
    by = e.resize(e.let(f"select i1 {out}, i32 0, i32 {at}"), "i32", kind)
    mask = e.let(f"select i1 {out}, {kind} 0, {kind} {e.let(f'shl {kind} {ones}, {by}')}")
    kept = e.let(f"and {kind} {b}, {e.let(f'xor {kind} {mask}, -1')}")
    put = e.let(f"and {kind} {e.let(f'shl {kind} {a}, {by}')}, {mask}")
    e.write(i.operands[0], e.let(f"or {kind} {kept}, {put}"), type)


def _extract(e: Emitter, i: Instruction) -> None:
    """``bfe``: bits of a from a position, for a length; signed ones are filled up with the field's last bit."""
    accept(i)
    type = i.types[0]
    kind, width = llvm_type(type), WIDTHS[type]
    a = e.read(i.operands[1], type)
    at, length, ones, out = _field(e, i, 2)
    by = e.resize(e.let(f"select i1 {out}, i32 0, i32 {at}"), "i32", kind)
    there = e.let(f"select i1 {out}, {kind} 0, {kind} {e.let(f'lshr {kind} -1, {by}')}")
    mask = e.let(f"and {kind} {ones}, {there}")
    value = e.let(f"and {kind} {e.let(f'lshr {kind} {a}, {by}')}, {mask}")
    if type[0] == "s":
        last = e.let(f"sub i32 {e.let(f'add i32 {at}, {length}')}, 1")
        last = e.resize(e.let(f"call i32 @llvm.umin.i32(i32 {last}, i32 {width - 1})"), "i32", kind)
        bit = e.let(f"trunc {kind} {e.let(f'lshr {kind} {a}, {last}')} to i1")
        sign = e.let(f"and i1 {bit}, {e.let(f'icmp ne i32 {length}, 0')}")
        fill = e.let(f"select i1 {sign}, {kind} {e.let(f'xor {kind} {mask}, -1')}, {kind} 0")
        value = e.let(f"or {kind} {value}, {fill}")
    e.write(i.operands[0], value, type)


def _count(e: Emitter, i: Instruction) -> None:
    """``brev`` keeps the type; ``popc`` and ``clz`` give 32 bits."""
    accept(i)
    type = i.types[0]
    kind, a = llvm_type(type), e.read(i.operands[1], type)
    if i.root == "clz":
        value = e.let(f"call {kind} @llvm.ctlz.{kind}({kind} {a}, i1 false)")
    else:
        value = e.let(f"call {kind} @llvm.{'ctpop' if i.root == 'popc' else 'bitreverse'}.{kind}({kind} {a})")
    if i.root == "brev":
        e.write(i.operands[0], value, type)
    else:
        e.write(i.operands[0], e.resize(value, kind, "u32"), "u32")


def _find(e: Emitter, i: Instruction) -> None:
    """``bfind``: where the highest one is (of a negative number the highest zero), or how far it is from the top."""
    accept(i, "shiftamt")
    type = i.types[0]
    kind, width = llvm_type(type), WIDTHS[type]
    a = e.read(i.operands[1], type)
    if type[0] == "s":
        a = e.let(f"xor {kind} {a}, {e.let(f'ashr {kind} {a}, {width - 1}')}")
    zeros = e.resize(e.let(f"call {kind} @llvm.ctlz.{kind}({kind} {a}, i1 false)"), kind, "u32")
    value = zeros if "shiftamt" in i.mods else e.let(f"sub i32 {width - 1}, {zeros}")
    none = e.let(f"icmp eq {kind} {a}, 0")
    e.write(i.operands[0], e.let(f"select i1 {none}, i32 -1, i32 {value}"), "u32")


def _permute(e: Emitter, i: Instruction) -> None:
    """``prmt``: each nibble of c picks a byte of b (above) and a, or with its top bit that byte's sign."""
    accept(i)
    a, b, c = (e.read(i.operands[k], "b32") for k in (1, 2, 3))
    above = e.let(f"shl i64 {e.let(f'zext i32 {b} to i64')}, 32")
    both = e.let(f"or i64 {above}, {e.let(f'zext i32 {a} to i64')}")
    value = "0"
    for place in range(4):
        nibble = e.let(f"lshr i32 {c}, {4 * place}")
        number = e.let(f"and i32 {nibble}, 7")
        by = e.let(f"zext i32 {e.let(f'shl i32 {number}, 3')} to i64")
        byte = e.let(f"trunc i64 {e.let(f'lshr i64 {both}, {by}')} to i8")
        signs = e.let(f"ashr i8 {byte}, 7")
        spread = e.let(f"icmp ne i32 {e.let(f'and i32 {nibble}, 8')}, 0")
        byte = e.let(f"select i1 {spread}, i8 {signs}, i8 {byte}")
        byte = e.resize(byte, "i8", "u32")
        value = e.let(f"or i32 {value}, {e.let(f'shl i32 {byte}, {8 * place}')}")
    e.write(i.operands[0], value, "b32")


OPS = {
    "and": _logic, "or": _logic, "xor": _logic, "not": _logic, "cnot": _logic, "shl": _shift, "shr": _shift,
    "shf": _funnel, "lop3": _lookup, "bfi": _insert, "bfe": _extract, "brev": _count, "popc": _count, "clz": _count,
    "bfind": _find, "prmt": _permute,
}  # fmt: skip
