"""Machine code as ``nvdisasm`` prints it: instructions, the registers they read and write, and loops."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

_LABEL = re.compile(r"^(\.L_\w+):")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(@!?U?P\w+\s+)?(\S+)\s*(.*?)\s*;")
_REGISTER = re.compile(r"\bR(\d+)\b")
_TARGET = re.compile(r"`\((\.L_\w+)\)")
_NO_RESULT = ("ST", "RED", "BAR", "BRA", "EXIT", "CALL", "RET", "LDGSTS", "LDGDEPBAR", "DEPBAR", "MEMBAR", "WARPSYNC")


@dataclass(frozen=True)
class Instruction:
    """``opcode`` with its suffixes, its operands, and whether a predicate guards it."""

    opcode: str
    operands: Sequence[str]
    guarded: bool = False

    @property
    def root(self) -> str:
        return self.opcode.split(".")[0]

    @property
    def bits(self) -> int:
        """The width of a load's or store's data."""
        parts = self.opcode.split(".")
        return next((int(p) for p in parts if p in ("64", "128")), 32)

    @property
    def multiplies(self) -> bool:
        """Whether it is what products are made of."""
        return self.root in ("FFMA", "HMMA")

    @cached_property
    def writes(self) -> range:
        """The registers of its result: as many as a load's width asks for, else the first operand."""
        if not self.operands or self.root.startswith(_NO_RESULT):
            return range(0)
        return self._span(self.operands[0], self.bits // 32 if self.root.startswith("LD") else 1)

    @cached_property
    def reads(self) -> frozenset[int]:
        given = self.operands if self.root.startswith(_NO_RESULT) else self.operands[1:]
        found: set[int] = set()
        for operand in given:
            width = self.bits // 32 if self.root.startswith("ST") and not operand.startswith("[") else 1
            if self.root == "HMMA":
                width = 4
            found.update(self._span(operand, 2 if ".64" in operand else width))
        return frozenset(found)

    @staticmethod
    def _span(operand: str, width: int) -> range:
        found = _REGISTER.search(operand)
        return range(int(found.group(1)), int(found.group(1)) + width) if found else range(0)


@dataclass(frozen=True)
class Code:
    """A kernel's instructions, and the (first, last) of its loops: what a branch backwards jumps over."""

    instructions: Sequence[Instruction]
    loops: Sequence[tuple[int, int]]

    @property
    def hot_loop(self) -> Sequence[Instruction]:
        """The loop with most multiplications of its own, those of loops within it not counted; nothing if none has."""
        best, most = (0, -1), 0
        for first, last in self.loops:
            inner = [(a, b) for a, b in self.loops if first <= a and b <= last and (a, b) != (first, last)]
            own = sum(
                self.instructions[i].multiplies
                for i in range(first, last + 1)
                if not any(a <= i <= b for a, b in inner)
            )
            if own > most:
                best, most = (first, last), own
        return self.instructions[best[0] : best[1] + 1]


def parse(sass: str) -> Code:
    """The code of a kernel."""
    labels: dict[str, int] = {}
    instructions: list[Instruction] = []
    for line in sass.splitlines():
        if label := _LABEL.match(line):
            labels[label.group(1)] = len(instructions)
        elif found := _INSTRUCTION.match(line):
            guard, opcode, operands = found.groups()
            instructions.append(Instruction(opcode, [o.strip() for o in operands.split(",")], bool(guard)))
    loops = set()
    for i, instruction in enumerate(instructions):
        if instruction.root == "BRA" and (target := _TARGET.search(" ".join(instruction.operands))):
            first = labels.get(target.group(1), len(instructions))
            # A branch to itself is what the disassembler shows behind the last instruction.
            if first < i:
                loops.add((first, i))
    return Code(instructions, sorted(loops))
