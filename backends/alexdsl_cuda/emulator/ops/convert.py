"""Moves, conversions, comparisons and selections."""

from __future__ import annotations

from alexdsl_cuda.emulator.emit import Emitter, accept, items, llvm_type
from alexdsl_cuda.emulator.ops import halves
from alexdsl_cuda.emulator.ops.floats import MODES, flushed
from alexdsl_cuda.emulator.ptx import WIDTHS, Address, Group, Instruction, Symbol

_TO_INTEGER = {"rni": "roundeven", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}
_FLOATS = ("f16", "bf16", "f32", "f64")


def _mov(e: Emitter, i: Instruction) -> None:
    """Also packs a vector into one register and unpacks one, the first member lowest; takes addresses of variables."""
    accept(i)
    type = i.types[0]
    target, source = i.operands
    kind, width = f"i{WIDTHS[type]}", WIDTHS[type]
    if isinstance(source, Group):
        part = width // len(source.items)
        value = "0"
        for k, item in enumerate(source.items):
            bits = e.let(f"zext i{part} {e.read(item, f'b{part}')} to {kind}")
            value = e.let(f"or {kind} {value}, {e.let(f'shl {kind} {bits}, {k * part}')}")
        e.write(target, e.resize(value, kind, type), type)
    elif isinstance(target, Group):
        part = width // len(target.items)
        value = e.read(source, f"b{width}")
        for k, item in enumerate(target.items):
            shifted = e.let(f"lshr {kind} {value}, {k * part}")
            e.write(item, e.let(f"trunc {kind} {shifted} to i{part}"), f"b{part}")
    elif isinstance(source, Address) and isinstance(source.base, Symbol):
        value = e.let(f"add i64 {e.symbol(source.base.name)}, {source.offset}")
        e.write(target, e.resize(value, "i64", type), type)
    else:
        e.write(target, e.read(source, type), type)


def _cvt(e: Emitter, i: Instruction) -> None:
    accept(i, *MODES, *_TO_INTEGER, "rna", "ftz", "sat")
    to, given = i.types
    if to == "tf32":
        _to_tf32(e, i)
    elif to in ("f16x2", "bf16x2"):
        mode = next((m for m in i.mods if m in MODES), "rn")
        high, low = (_to_half(e, i, e.read(i.operands[k], "f32"), to[:-2], mode) for k in (1, 2))
        e.write(i.operands[0], halves.join(e, [low, high]), to)
    elif to in _FLOATS and given in _FLOATS:
        _float_to_float(e, i, to, given)
    elif given in _FLOATS:
        _float_to_integer(e, i, to, given)
    elif to in _FLOATS:
        _integer_to_float(e, i, to, given)
    else:
        _integer_to_integer(e, i, to, given)


def _to_half(e: Emitter, i: Instruction, value: str, type: str, mode: str) -> str:
    if mode != "rn" and (type, mode) != ("bf16", "rz"):
        raise i.refuse("this rounding is not understood")
    return halves.narrow(e, value, type, mode)


def _to_tf32(e: Emitter, i: Instruction) -> None:
    """The f32 with its 13 last bits rounded away: ties to even or away from zero; NaN and infinity stay."""
    bits = e.read(i.operands[1], "b32")
    if "rna" in i.mods:
        near = e.let(f"add i32 {bits}, 4096")
    elif "rn" in i.mods:
        odd = e.let(f"and i32 {e.let(f'lshr i32 {bits}, 13')}, 1")
        near = e.let(f"add i32 {e.let(f'add i32 {bits}, 4095')}, {odd}")
    else:
        raise i.refuse("this rounding is not understood")
    exponent = e.let(f"and i32 {bits}, 2139095040")
    value = e.let(f"select i1 {e.let(f'icmp eq i32 {exponent}, 2139095040')}, i32 {bits}, i32 {near}")
    e.write(i.operands[0], e.let(f"and i32 {value}, -8192"), "b32")


def _source(e: Emitter, i: Instruction, given: str) -> tuple[str, str]:
    """The operand and its type, halves already as f32; subnormal f32 as zero with ``.ftz``."""
    value = e.read(i.operands[1], given)
    if given in ("f16", "bf16"):
        return halves.widen(e, value, given), "f32"
    return (flushed(e, value) if given == "f32" and "ftz" in i.mods else value), given


def _float_to_float(e: Emitter, i: Instruction, to: str, given: str) -> None:
    value, type = _source(e, i, given)
    whole = next((m for m in i.mods if m in _TO_INTEGER), None)
    if whole is not None:
        value = e.let(f"call {llvm_type(type)} @llvm.{_TO_INTEGER[whole]}.{type}({llvm_type(type)} {value})")
    mode = next((m for m in i.mods if m in MODES), "rn")
    if to == "f64" and type == "f32":
        value = e.let(f"fpext float {value} to double")
    elif to != "f64" and type == "f64":
        if to == "f16" or to == "bf16":
            value = e.let(f"call float @round_odd(double {value}, double 0.0)")
        elif mode == "rn":
            value = e.let(f"fptrunc double {value} to float")
        else:
            value = e.let(f"call float @round_{mode}(double {value}, double 0.0)")
    if to in ("f16", "bf16"):
        e.write(i.operands[0], _to_half(e, i, value, to, mode), to)
        return
    if "sat" in i.mods:
        name, kind = ("saturate", "float") if to == "f32" else ("saturate_f64", "double")
        value = e.let(f"call {kind} @{name}({kind} {value})")
    if to == "f32" and "ftz" in i.mods:
        value = flushed(e, value)
    e.write(i.operands[0], value, to)


def _float_to_integer(e: Emitter, i: Instruction, to: str, given: str) -> None:
    """Results are clamped to the type's range. NaN gives 0, but of f64 or into 64 bits the highest bit alone."""
    value, type = _source(e, i, given)
    kind, width = llvm_type(type), WIDTHS[to]
    whole = next((m for m in i.mods if m in _TO_INTEGER), None)
    if whole is None:
        raise i.refuse("a conversion to integers without integer rounding")
    value = e.let(f"call {kind} @llvm.{_TO_INTEGER[whole]}.{type}({kind} {value})")
    sign = "s" if to[0] == "s" else "u"
    number = e.let(f"call i{width} @llvm.fpto{sign}i.sat.i{width}.{type}({kind} {value})")
    if given == "f64" or width == 64:
        nan = e.let(f"fcmp uno {kind} {value}, {value}")
        number = e.let(f"select i1 {nan}, i{width} {-(1 << (width - 1))}, i{width} {number}")
    e.write(i.operands[0], number, to)


def _integer_to_float(e: Emitter, i: Instruction, to: str, given: str) -> None:
    value = e.read(i.operands[1], given)
    mode = next((m for m in i.mods if m in MODES), "rn")
    name, kind = "sitofp" if given[0] == "s" else "uitofp", llvm_type(given)
    if to in ("f16", "bf16"):
        if WIDTHS[given] > 16:
            raise i.refuse("only integers of 16 bits become halves")
        e.write(i.operands[0], _to_half(e, i, e.let(f"{name} {kind} {value} to float"), to, mode), to)
        return
    if mode == "rn":
        number = e.let(f"{name} {kind} {value} to {llvm_type(to)}")
    elif to == "f32" and WIDTHS[given] <= 32:
        exact = e.let(f"{name} {kind} {value} to double")
        number = e.let(f"call float @round_{mode}(double {exact}, double 0.0)")
    else:
        raise i.refuse("this rounding is not understood")
    e.write(i.operands[0], number, to)


def _integer_to_integer(e: Emitter, i: Instruction, to: str, given: str) -> None:
    """A source that is wider than its type is cut to it first; then cut or filled up by the source's sign."""
    value, signed = e.read(i.operands[1], given), given[0] == "s"
    have, want = llvm_type(given), llvm_type(to)
    if "sat" in i.mods:
        wide = f"i{2 * max(WIDTHS[given], WIDTHS[to])}"
        half = 1 << (WIDTHS[to] - 1)
        least, most = (-half, half - 1) if to[0] == "s" else (0, 2 * half - 1)
        big = e.resize(value, have, wide, signed=signed)
        big = e.let(f"call {wide} @llvm.smax.{wide}({wide} {big}, {wide} {least})")
        big = e.let(f"call {wide} @llvm.smin.{wide}({wide} {big}, {wide} {most})")
        value = e.let(f"trunc {wide} {big} to {want}")
    else:
        value = e.resize(value, have, want, signed=signed)
    e.write(i.operands[0], value, to)


_INTEGER_TESTS = {
    "eq": "eq", "ne": "ne", "lt": "{}lt", "le": "{}le", "gt": "{}gt", "ge": "{}ge",
    "lo": "ult", "ls": "ule", "hi": "ugt", "hs": "uge",
}  # fmt: skip
_FLOAT_TESTS = {
    "eq": "oeq", "ne": "one", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "equ": "ueq", "neu": "une",
    "ltu": "ult", "leu": "ule", "gtu": "ugt", "geu": "uge", "num": "ord", "nan": "uno",
}  # fmt: skip


def _compare(e: Emitter, i: Instruction, type: str) -> str:
    test = i.mods[0]
    a, b = e.read(i.operands[1], type), e.read(i.operands[2], type)
    if type in _FLOATS:
        if test not in _FLOAT_TESTS:
            raise i.refuse("this comparison is not understood")
        if type in ("f16", "bf16"):
            a, b = (halves.widen(e, v, type) for v in (a, b))
        elif type == "f32" and "ftz" in i.mods:
            a, b = flushed(e, a), flushed(e, b)
        return e.let(f"fcmp {_FLOAT_TESTS[test]} {'double' if type == 'f64' else 'float'} {a}, {b}")
    if test not in _INTEGER_TESTS:
        raise i.refuse("this comparison is not understood")
    return e.let(f"icmp {_INTEGER_TESTS[test].format('s' if type[0] == 's' else 'u')} {llvm_type(type)} {a}, {b}")


def _setp(e: Emitter, i: Instruction) -> None:
    """``p|q``: q is what p would be with the comparison the other way round."""
    accept(i, *_INTEGER_TESTS, *_FLOAT_TESTS, "ftz", "and", "or", "xor")
    holds = _compare(e, i, i.types[-1])
    values = [holds]
    targets = items(i.operands[0])
    if len(targets) == 2:
        values.append(e.let(f"xor i1 {holds}, true"))
    logic = next((m for m in i.mods if m in ("and", "or", "xor")), None)
    if logic is not None:
        other = e.read(i.operands[3], "pred")
        values = [e.let(f"{logic} i1 {value}, {other}") for value in values]
    for target, value in zip(targets, values, strict=True):
        e.write(target, value, "pred")


def _set(e: Emitter, i: Instruction) -> None:
    """Like ``setp``, as all ones (integers) or 1.0."""
    accept(i, *_INTEGER_TESTS, *_FLOAT_TESTS, "ftz", "and", "or", "xor")
    to, given = i.types
    holds = _compare(e, i, given)
    logic = next((m for m in i.mods if m in ("and", "or", "xor")), None)
    if logic is not None:
        holds = e.let(f"{logic} i1 {holds}, {e.read(i.operands[3], 'pred')}")
    yes, no = ("1.0", "0.0") if to == "f32" else ("-1", "0")
    e.write(i.operands[0], e.let(f"select i1 {holds}, {llvm_type(to)} {yes}, {llvm_type(to)} {no}"), to)


def _selp(e: Emitter, i: Instruction) -> None:
    accept(i)
    type = i.types[0]
    kind = llvm_type(type)
    a, b, p = e.read(i.operands[1], type), e.read(i.operands[2], type), e.read(i.operands[3], "pred")
    e.write(i.operands[0], e.let(f"select i1 {p}, {kind} {a}, {kind} {b}"), type)


def _slct(e: Emitter, i: Instruction) -> None:
    """The first if the third operand is at least 0, else the second; NaN is not."""
    accept(i, "ftz")
    type, given = i.types
    kind, c = llvm_type(type), e.read(i.operands[3], given)
    a, b = e.read(i.operands[1], type), e.read(i.operands[2], type)
    test = f"icmp sge i32 {c}, 0" if given == "s32" else f"fcmp oge float {c}, 0.0"
    e.write(i.operands[0], e.let(f"select i1 {e.let(test)}, {kind} {a}, {kind} {b}"), type)


OPS = {"mov": _mov, "cvt": _cvt, "setp": _setp, "set": _set, "selp": _selp, "slct": _slct}
