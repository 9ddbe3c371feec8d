"""PTX as a tree: modules, functions, variables, instructions and their operands. The parser is ``parse.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

WIDTHS: Mapping[str, int] = {
    **{f"{kind}{bits}": bits for kind in "bsu" for bits in (8, 16, 32, 64)},
    "b128": 128, "f16": 16, "bf16": 16, "f16x2": 32, "bf16x2": 32, "tf32": 32, "f32": 32, "f64": 64, "pred": 1,
}  # fmt: skip
"""Bits of every PTX type that is understood here."""


class PtxError(ValueError):
    """PTX that the emulator does not understand or refuses to run; the message names the line."""


@dataclass(frozen=True)
class Reg:
    """A register; in a nested scope its name has the scope's number behind it. ``_`` takes results nobody wants."""

    name: str


@dataclass(frozen=True)
class Imm:
    """A constant: an integer, or a float's bits with its type ``f32`` or ``f64``."""

    value: int
    type: str = "int"


@dataclass(frozen=True)
class Symbol:
    """The name of a variable, a function or a label; a special register such as ``%tid.x`` too."""

    name: str


@dataclass(frozen=True)
class Address:
    """``[base + offset]``, offset in bytes."""

    base: Reg | Symbol | Imm
    offset: int = 0


@dataclass(frozen=True)
class Not:
    """A predicate taken negated: ``!%p1``."""

    reg: Reg


@dataclass(frozen=True)
class Group:
    """Operands in braces (a vector), in parentheses (a call's), or two with a bar between them (``d|p``)."""

    items: tuple[Operand, ...]


Operand: TypeAlias = Reg | Imm | Symbol | Address | Not | Group


@dataclass(frozen=True)
class Instruction:
    """One instruction: ``root`` is the opcode's first word, ``mods`` the others; ``index`` counts in its function."""

    index: int
    root: str
    mods: tuple[str, ...]
    operands: tuple[Operand, ...]
    guard: Reg | Not | None
    line: int
    source: tuple[str, int] | None = None

    @property
    def opcode(self) -> str:
        return ".".join((self.root, *self.mods))

    @property
    def types(self) -> list[str]:
        """The types among the modifiers, in their order."""
        return [m for m in self.mods if m in WIDTHS]

    def refuse(self, why: str) -> PtxError:
        return PtxError(f"PTX line {self.line}: {self.opcode}: {why}")


@dataclass(frozen=True)
class Param:
    """A parameter of a function: its place in the block of parameters, in bytes."""

    name: str
    type: str
    offset: int
    size: int


@dataclass(frozen=True)
class Variable:
    """Memory with a name: ``space`` is local, shared, global or const; ``size`` in bytes, 0 if the launch gives it."""

    name: str
    space: str
    align: int
    size: int
    initial: bytes | None = None


@dataclass
class Function:
    """An ``.entry`` or a ``.func``: its body is instructions, and labels that name the index they stand before."""

    name: str
    entry: bool
    params: list[Param] = field(default_factory=list)
    returns: list[Param] = field(default_factory=list)
    registers: dict[str, str] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)
    body: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    tables: dict[str, Sequence[str]] = field(default_factory=dict)


@dataclass
class Program:
    """A PTX text, parsed."""

    target: str = ""
    functions: dict[str, Function] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)


def layout(variables: Sequence[Variable]) -> tuple[dict[str, int], int]:
    """Offsets in bytes of variables one behind the other, and their size together; those of size 0 lie at the end."""
    offsets, end = {}, 0
    for variable in sorted(variables, key=lambda v: v.size == 0):
        end = -(-end // variable.align) * variable.align
        offsets[variable.name] = end
        end += variable.size
    return offsets, end
