"""Writes LLVM IR for one region of a kernel: registers and operands as values, with PTX's rules for their widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alexdsl_cuda.emulator.flow import CARRY
from alexdsl_cuda.emulator.ptx import (
    WIDTHS,
    Function,
    Group,
    Imm,
    Instruction,
    Not,
    Operand,
    PtxError,
    Reg,
    Symbol,
    Variable,
    layout,
)  # fmt: skip

CONTEXT = (
    "params", "shared", "registers", "local", "mail", "state", "tids", "log", "allocations", "flush", "counts",
)  # fmt: skip
"""The pointers that a launch hands to a kernel, in the order in which they lie in the context."""
NUMBERS = (
    "ctaid.x", "ctaid.y", "ctaid.z", "nctaid.x", "nctaid.y", "nctaid.z", "ntid.x", "ntid.y", "ntid.z",
    "threads", "shared_bytes", "logged", "capacity", "allocated", "error", "error_thread",
)  # fmt: skip
"""The 32-bit numbers behind them."""
MOST_THREADS = 1024
"""Threads that a block may have."""
MAIL_BYTES = 16 * 32 * 4
"""Bytes of a warp's mailbox: 16 slots of a word per lane."""


def llvm_type(type: str) -> str:
    """The LLVM type that values of a PTX type have here; halves are kept as their bits."""
    if type in ("f32", "f64"):
        return "float" if type == "f32" else "double"
    return f"i{WIDTHS[type]}"


@dataclass(frozen=True)
class Storage:
    """How the kernel's registers are kept: their LLVM types, and for those that outlive a region their byte offset."""

    types: Mapping[str, str]
    slots: Mapping[str, int]
    size: int


class Emitter:
    """Collects a function's lines; ``read`` and ``write`` are how instructions reach registers."""

    def __init__(
        self, function: Function, storage: Storage, symbols: Mapping[str, tuple[str, int]], *, checks: bool, base: int
    ) -> None:
        self.frame_bytes = layout(local_variables(function))[1]
        self.function, self.storage, self.symbols = function, storage, symbols
        self.checks, self.base = checks, base
        self.lines: list[str] = []
        self.count = 0

    # Lines

    def let(self, text: str) -> str:
        """A new value."""
        self.count += 1
        self.lines.append(f"  %v{self.count} = {text}")
        return f"%v{self.count}"

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def fresh(self, prefix: str) -> str:
        """A name for a label."""
        self.count += 1
        return f"{prefix}{self.count}"

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")

    # Registers

    def register(self, name: str) -> str:
        """The stack slot of a register."""
        return f'%"{name}"'

    def width(self, name: str) -> int:
        return {"float": 32, "double": 64}.get(self.storage.types[name]) or int(self.storage.types[name][1:])

    def read(self, operand: Operand, type: str) -> str:
        """An operand as a value of a PTX type; wider registers are cut, narrower ones filled with zeros."""
        if isinstance(operand, Imm):
            return self.constant(operand, type)
        if isinstance(operand, Not):
            return self.let(f"xor i1 {self.read(operand.reg, 'pred')}, true")
        if isinstance(operand, Symbol):
            return self.resize(self.symbol(operand.name), "i64", type)
        if not isinstance(operand, Reg) or operand.name == "_":
            raise PtxError(f"{operand} is no operand to read")
        kept = self.storage.types[operand.name]
        return self.resize(self.let(f"load {kept}, ptr {self.register(operand.name)}"), kept, type)

    def write(self, operand: Operand, value: str, type: str) -> None:
        """Sets a register to a value of a PTX type; a wider one is filled up by sign or with zeros, as the type is."""
        if not isinstance(operand, Reg):
            raise PtxError(f"{operand} is no register to write")
        if operand.name == "_":
            return
        kept = self.storage.types[operand.name]
        value = self.resize(value, llvm_type(type), kept, signed=type[0] == "s")
        self.do(f"store {kept} {value}, ptr {self.register(operand.name)}")

    def resize(self, value: str, have: str, want: str, *, signed: bool = False) -> str:
        """A value's bits as another type, cut or filled up; types are LLVM's or PTX's."""
        want = llvm_type(want) if want in WIDTHS else want
        if have == want:
            return value
        bits = {"float": "i32", "double": "i64"}
        if have in bits:
            value, have = self.let(f"bitcast {have} {value} to {bits[have]}"), bits[have]
        goal = bits.get(want, want)
        if int(have[1:]) > int(goal[1:]):
            value = self.let(f"trunc {have} {value} to {goal}")
        elif int(have[1:]) < int(goal[1:]):
            value = self.let(f"{'sext' if signed else 'zext'} {have} {value} to {goal}")
        return value if goal == want else self.let(f"bitcast {goal} {value} to {want}")

    def constant(self, constant: Imm, type: str) -> str:
        kind, width = llvm_type(type), WIDTHS[type]
        value = constant.value
        if constant.type == "f64" and width == 32:
            double = self.let(f"bitcast i64 {value} to double")
            return self.resize(self.let(f"fptrunc double {double} to float"), "float", kind)
        if type == "pred":
            return "true" if value else "false"
        value &= (1 << width) - 1
        if kind in ("float", "double"):
            if constant.type == "int":
                raise PtxError(f"the integer {constant.value} where a float belongs")
            return f"bitcast (i{width} {value} to {kind})"
        return str(value)

    def carry(self) -> str:
        return self.let(f"load i1, ptr {self.register(CARRY)}")

    def set_carry(self, value: str) -> None:
        self.do(f"store i1 {value}, ptr {self.register(CARRY)}")

    # The launch's context

    def pointer(self, name: str) -> str:
        """A pointer of the context."""
        place = self.let(f"getelementptr i8, ptr %ctx, i64 {8 * CONTEXT.index(name)}")
        return self.let(f"load ptr, ptr {place}, !invariant.load !0")

    def number(self, name: str) -> str:
        """A 32-bit number of the context."""
        place = self.let(f"getelementptr i8, ptr %ctx, i64 {8 * len(CONTEXT) + 4 * NUMBERS.index(name)}")
        return self.let(f"load i32, ptr {place}")

    def symbol(self, name: str) -> str:
        """What a special register holds or where a variable lies, as 64 bits: shared ones from their block's start."""
        if not name.startswith("%"):
            if name not in self.symbols:
                raise PtxError(f"'{name}' is not declared")
            space, at = self.symbols[name]
            if space == "local":
                return self.let(f"ptrtoint ptr {self.local(at)} to i64")
            return str(at)
        return self.let(f"zext i32 {self.special(name[1:])} to i64")

    def local(self, at: int) -> str:
        return self.let(f"getelementptr i8, ptr %frame, i64 {at}")

    def special(self, name: str) -> str:
        lane = self.let("and i32 %t, 31")
        if name.startswith("tid."):
            axis = "xyz".index(name[-1]) * MOST_THREADS
            at = self.let(f"add i32 %t, {axis}")
            place = self.let(f"getelementptr i32, ptr {self.pointer('tids')}, i32 {at}")
            return self.let(f"load i32, ptr {place}, !invariant.load !0")
        if name in NUMBERS:
            return self.number(name)
        if name == "laneid":
            return lane
        if name == "warpid":
            return self.let("lshr i32 %t, 5")
        if name == "nwarpid":
            threads = self.number("threads")
            return self.let(f"lshr i32 {self.let(f'add i32 {threads}, 31')}, 5")
        if name.startswith("lanemask_"):
            own = self.let(f"shl i32 1, {lane}")
            below = self.let(f"sub i32 {own}, 1")
            above = self.let(f"sub i32 -1, {self.let(f'or i32 {below}, {own}')}")
            if name[-2:] in ("le", "ge"):
                return self.let(f"or i32 {own}, {below if name[-2] == 'l' else above}")
            return {"eq": own, "lt": below, "gt": above}[name[-2:]]
        if name in ("dynamic_smem_size", "total_smem_size"):
            fixed = self.symbols["%static"][1] if name[0] == "d" else 0
            return self.let(f"sub i32 {self.number('shared_bytes')}, {fixed}")
        raise PtxError(f"the special register %{name} is not understood")


def accept(i: Instruction, *words: str) -> None:
    """Refuses an instruction with a modifier that is neither a type nor among these words."""
    for mod in i.mods:
        if mod not in words and mod not in WIDTHS:
            raise i.refuse(f"'.{mod}' is not understood")


def items(operand: Operand) -> Sequence[Operand]:
    """The members of a vector, or the operand itself."""
    return operand.items if isinstance(operand, Group) else (operand,)


def storage(function: Function, outlive: set[str]) -> Storage:
    """Chooses each register's LLVM type, floats for those in which floats are computed, and its slot if it has one."""
    lean: dict[str, int] = {}
    for i in function.body:
        kinds = [t for t in i.types if t[0] in "fsu"]
        for operand in i.operands if kinds else ():
            for item in items(operand):
                if isinstance(item, Reg):
                    lean[item.name] = lean.get(item.name, 0) + (1 if all(k in ("f32", "f64") for k in kinds) else -1)
    types = {CARRY: "i1"}
    for name, type in function.registers.items():
        types[name] = llvm_type(type)
        if type in ("b32", "b64") and lean.get(name, 0) > 0:
            types[name] = llvm_type("f" + type[1:])
    slots, size = {}, 0
    for name in sorted(outlive, key=lambda n: (-_bytes(types[n]), n)):
        slots[name] = size
        size += _bytes(types[name])
    return Storage(types, slots, -(-size // 64) * 64)


def _bytes(kept: str) -> int:
    return {"float": 4, "double": 8, "i1": 1}.get(kept) or int(kept[1:]) // 8


def local_variables(function: Function) -> list[Variable]:
    """A function's variables in local memory."""
    return [v for v in function.variables.values() if v.space == "local"]
