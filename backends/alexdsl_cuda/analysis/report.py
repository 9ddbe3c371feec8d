"""The static quality of a kernel: what it uses of a multiprocessor, and what its hottest loop is made of."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alexdsl_cuda.analysis.sass import Instruction, parse
from alexdsl_cuda.analysis.tools import assemble
from alexdsl_cuda.compiler import compile_ptx


@dataclass(frozen=True)
class Processor:
    """What a multiprocessor has: threads and blocks at once, registers, bytes of shared memory."""

    warps: int
    blocks: int
    registers: int
    shared: int


PROCESSORS: Mapping[tuple[int, int], Processor] = {
    (8, 0): Processor(64, 32, 65536, 164 * 1024),
    (8, 6): Processor(48, 16, 65536, 100 * 1024),
    (8, 9): Processor(48, 24, 65536, 100 * 1024),
    (9, 0): Processor(64, 32, 65536, 228 * 1024),
}
RESERVED = 1024
"""Bytes of shared memory that every block costs beside its own."""


@dataclass(frozen=True)
class Loop:
    """The hottest loop: ``mix`` counts instructions by opcode, ``share`` is the part that multiplies."""

    instructions: int
    multiplications: int
    mix: Mapping[str, int]
    ahead: int | None
    """Multiplications between a load from global memory and the first use of what it loads: the least of all loads."""
    shared_wide: float
    """The part of the bytes read from shared memory that 128-bit loads read; matrix loads count as such."""
    global_wide: float
    """The part of the bytes read from global memory that 128-bit loads read."""

    @property
    def share(self) -> float:
        return self.multiplications / self.instructions if self.instructions else 0.0


@dataclass(frozen=True)
class Report:
    """A kernel on a processor; sizes in bytes. ``seconds`` of processing went into the PTX: none, from the cache."""

    registers: int
    stack: int
    spills: int
    local: int
    """Instructions that reach local memory."""
    shared: int
    occupancy: float
    """Warps at once on a multiprocessor over the most that it can have."""
    blocks: int
    """Blocks at once on a multiprocessor."""
    doubles: int
    """Instructions that calculate in float64."""
    calls: int
    multiplications: int
    """Multiply-adds in the code, each counted once."""
    stores_wide: float
    """The part of the bytes stored to global memory that 128-bit stores write."""
    loop: Loop
    seconds: float
    code: int
    """Instructions in all."""


def analyse(source: str, capability: tuple[int, int], threads: int) -> Report:
    """A rendered kernel, compiled for blocks of so many threads. Raises MissingTool."""
    began = time.process_time()
    ptx = compile_ptx(source, capability)
    return analyse_ptx(ptx, capability, threads, time.process_time() - began)


def analyse_ptx(ptx: str, capability: tuple[int, int], threads: int, seconds: float = 0.0) -> Report:
    """A kernel's PTX, for blocks of so many threads. Raises MissingTool."""
    made = assemble(ptx, capability)
    code = parse(made.sass)
    all_of = code.instructions
    roots = Counter(i.root for i in all_of)
    blocks = resident(capability, threads, made.registers, made.shared)
    warps = -(-threads // 32)
    return Report(
        registers=made.registers, stack=made.stack, spills=made.spills, local=roots["LDL"] + roots["STL"],
        shared=made.shared, occupancy=blocks * warps / PROCESSORS[capability].warps, blocks=blocks,
        doubles=sum(_is_double(i) for i in all_of),
        # A loop's way out may be a CALL that never returns; a real one needs a RET.
        calls=roots["CALL"] if roots["RET"] else 0,
        multiplications=roots["FFMA"] + roots["HMMA"],
        stores_wide=_wide([i for i in all_of if i.root == "STG"]),
        loop=_loop(code.hot_loop), seconds=seconds, code=len(all_of),
    )  # fmt: skip


def resident(capability: tuple[int, int], threads: int, registers: int, shared: int) -> int:
    """Blocks that a multiprocessor holds at once."""
    has = PROCESSORS[capability]
    warps = -(-threads // 32)
    # A warp's registers are given in units of 256.
    by_registers = has.registers // (-(-registers * 32 // 256) * 256 * warps) if registers else has.blocks
    return min(has.blocks, has.warps // warps, by_registers, has.shared // (shared + RESERVED))


def _is_double(instruction: Instruction) -> bool:
    return instruction.root in ("DADD", "DMUL", "DFMA", "DSETP", "DMMA") or bool(
        re.search(r"F64|RCP64|RSQ64", instruction.opcode)
    )


def _wide(accesses: Sequence[Instruction]) -> float:
    total = sum(i.bits for i in accesses)
    return sum(i.bits for i in accesses if i.bits == 128) / total if total else 1.0


def _loop(body: Sequence[Instruction]) -> Loop:
    # Before copies to shared memory ptxas puts loads that are never made, to no register.
    shared = [i for i in body if i.root == "LDS" and i.operands[0] != "RZ"]
    loads = [i for i in body if i.root in ("LDG", "LDGSTS")]
    return Loop(
        instructions=len(body), multiplications=sum(i.multiplies for i in body),
        mix=dict(Counter(i.opcode for i in body).most_common()), ahead=_ahead(body), shared_wide=_wide(shared),
        global_wide=_wide(loads),
    )  # fmt: skip


def _ahead(body: Sequence[Instruction]) -> int | None:
    """From each load to its first use, once around the loop at most."""
    least: int | None = None
    for at, load in enumerate(body):
        if load.root != "LDG":
            continue
        passed = 0
        for later in (*body[at + 1 :], *body[:at]):
            if not later.reads.isdisjoint(load.writes):
                break
            passed += later.multiplies
        least = passed if least is None else min(least, passed)
    return least
