"""Arithmetic of f32 and f64: rounded as IEEE says, in the direction asked for; approximations are rounded correctly.

The hardware's approximations (``ex2.approx``, ``sin.approx``, ...) differ from these in the last bits. What NaN carries
beside being one is not modelled. Sums and products without a rounding mode are not contracted.
"""

from __future__ import annotations

from alexdsl_cuda.emulator.emit import Emitter, accept, llvm_type
from alexdsl_cuda.emulator.ptx import Instruction

MODES = ("rn", "rz", "rm", "rp")


def arithmetic(e: Emitter, i: Instruction) -> None:
    """``add``, ``sub``, ``mul``, ``fma``, ``mad``, ``div``, ``min``, ``max``, ``abs`` and ``neg``."""
    accept(i, *MODES, "ftz", "sat", "approx", "full", "NaN")
    type = i.types[0]
    values = [operand(e, i, k, type) for k in range(1, len(i.operands))]
    mode = next((m for m in i.mods if m in MODES), "rn")
    if i.root in ("add", "sub", "mul", "fma", "mad"):
        value = _ring(e, i, values, mode)
    elif i.root == "div":
        if mode != "rn":
            raise i.refuse("this rounding is not understood")
        value = e.let(f"fdiv {llvm_type(type)} {values[0]}, {values[1]}")
    else:
        value = _choice(e, i, values)
    e.write(i.operands[0], result(e, i, value, type), type)


def operand(e: Emitter, i: Instruction, k: int, type: str) -> str:
    """An operand; with ``.ftz`` a subnormal f32 counts as zero."""
    value = e.read(i.operands[k], type)
    return flushed(e, value) if "ftz" in i.mods and type == "f32" else value


def result(e: Emitter, i: Instruction, value: str, type: str) -> str:
    """A result as ``.sat`` and ``.ftz`` have it."""
    if "sat" in i.mods:
        value = e.let(f"call float @saturate(float {value})")
    return flushed(e, value) if "ftz" in i.mods and type == "f32" else value


def flushed(e: Emitter, value: str) -> str:
    """A subnormal f32 as the zero of its sign."""
    return e.let(f"call float @flush(float {value})")


def _ring(e: Emitter, i: Instruction, values: list[str], mode: str) -> str:
    kind = llvm_type(i.types[0])
    if mode == "rn":
        if i.root in ("fma", "mad"):
            intrinsic = "llvm.fma.f32" if kind == "float" else "llvm.fma.f64"
            return e.let(f"call {kind} @{intrinsic}({', '.join(f'{kind} {v}' for v in values)})")
        return e.let(f"f{i.root} {kind} {values[0]}, {values[1]}")
    if kind != "float":
        raise i.refuse("f64 is rounded to nearest only")
    a, b, c = (*values, "0.0")[:3]
    if i.root == "mul":
        return e.let(f"call float @mul_{mode}(float {a}, float {b})")
    if i.root == "add":
        a, b, c = a, "1.0", b
    elif i.root == "sub":
        a, b, c = b, "-1.0", a
    return e.let(f"call float @fma_{mode}(float {a}, float {b}, float {c})")


def _choice(e: Emitter, i: Instruction, values: list[str]) -> str:
    kind, suffix = llvm_type(i.types[0]), i.types[0]
    if i.root == "neg":
        return e.let(f"fneg {kind} {values[0]}")
    if i.root == "abs":
        return e.let(f"call {kind} @llvm.fabs.{suffix}({kind} {values[0]})")
    # Of a NaN and a number the number is taken, unless .NaN is asked for; -0 is less than +0.
    name = f"{i.root}imum" if "NaN" in i.mods else f"{i.root}imumnum"
    value = values[0]
    for other in values[1:]:
        value = e.let(f"call {kind} @llvm.{name}.{suffix}({kind} {value}, {kind} {other})")
    return value


_FUNCTIONS = {"sin": "sin", "cos": "cos", "lg2": "log2", "ex2": "exp2", "sqrt": "sqrt"}


def function(e: Emitter, i: Instruction) -> None:
    """``rcp``, ``sqrt``, ``rsqrt``, ``sin``, ``cos``, ``lg2``, ``ex2`` and ``tanh``, computed in f64."""
    accept(i, "rn", "approx", "ftz")
    type = i.types[0]
    x = operand(e, i, 1, type)
    if type == "f64":
        value = _double(e, i, x)
    elif i.root in ("sqrt", "rcp"):
        value = e.let("fdiv float 1.0, " + x if i.root == "rcp" else f"call float @llvm.sqrt.f32(float {x})")
    elif type == "f32":
        value = _double(e, i, e.let(f"fpext float {x} to double"))
        value = e.let(f"fptrunc double {value} to float")
    else:
        raise i.refuse("of this type it is not understood")
    e.write(i.operands[0], result(e, i, value, type), type)


def _double(e: Emitter, i: Instruction, x: str) -> str:
    if i.root in _FUNCTIONS:
        return e.let(f"call double @llvm.{_FUNCTIONS[i.root]}.f64(double {x})")
    if i.root == "tanh":
        return e.let(f"call double @tanh(double {x})")
    root = e.let(f"call double @llvm.sqrt.f64(double {x})") if i.root == "rsqrt" else x
    value = e.let(f"fdiv double 1.0, {root}")
    if i.types[0] == "f64" and "approx" in i.mods:
        # rcp and rsqrt of f64 are approximated in the upper 32 bits; the lower are zero.
        bits = e.let(f"and i64 {e.let(f'bitcast double {value} to i64')}, -4294967296")
        value = e.let(f"bitcast i64 {bits} to double")
    return value


def copysign(e: Emitter, i: Instruction) -> None:
    """The second operand with the sign of the first."""
    accept(i)
    type = i.types[0]
    kind = llvm_type(type)
    sign, value = e.read(i.operands[1], type), e.read(i.operands[2], type)
    e.write(i.operands[0], e.let(f"call {kind} @llvm.copysign.{type}({kind} {value}, {kind} {sign})"), type)


_CLASSES = {"finite": 504, "infinite": 516, "number": 1020, "notanumber": 3, "normal": 264, "subnormal": 144}
"""Bits of LLVM's ``is.fpclass``; normal numbers are 8 and 256, subnormals 16 and 128, zeros 32 and 64."""


def testp(e: Emitter, i: Instruction) -> None:
    """What kind of number it is."""
    accept(i, *_CLASSES)
    type = i.types[0]
    value = e.read(i.operands[1], type)
    bits = next(_CLASSES[m] for m in i.mods if m in _CLASSES)
    e.write(i.operands[0], e.let(f"call i1 @llvm.is.fpclass.{type}({llvm_type(type)} {value}, i32 {bits})"), "pred")


OPS = {
    "copysign": copysign, "testp": testp,
    **dict.fromkeys(("rcp", "sqrt", "rsqrt", "sin", "cos", "lg2", "ex2", "tanh"), function),
}  # fmt: skip
