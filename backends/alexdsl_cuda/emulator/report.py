"""What a checked run reports: findings, and counts of what was executed and moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong at one instruction: its first occurrence, and how often it was seen.

    ``thread`` counts within the block, x fastest; ``address`` is the host's, or an offset where the memory is shared.
    """

    kind: str
    kernel: str
    line: int
    source: tuple[str, int] | None
    block: tuple[int, int, int]
    thread: int
    address: int
    times: int
    text: str

    def __str__(self) -> str:
        where = f"{self.source[0]}:{self.source[1]} " if self.source else ""
        often = f" ({self.times} times)" if self.times > 1 else ""
        return (
            f"{self.kind}: {where}PTX line {self.line} of {self.kernel}, block {self.block}, thread {self.thread}: "
            f"{self.text}{often}"
        )


@dataclass(frozen=True)
class Access:
    """The traffic of one instruction in the blocks that were run.

    In global memory ``transfers`` are sectors of 32 bytes, in shared memory bank wavefronts; ``ideal`` are those that
    the same bytes would take at best. ``bytes`` are summed over threads.
    """

    opcode: str
    space: str
    line: int
    source: tuple[str, int] | None
    requests: int
    bytes: int
    transfers: int
    ideal: int


@dataclass(frozen=True)
class Counts:
    """What the blocks that were run did, together.

    ``fma`` are multiply-adds: a thread's f32 ones and those inside matrix products; ``instructions`` are executions by
    threads, by opcode; ``bytes_read`` and ``bytes_written`` are different bytes of global memory.
    """

    blocks: int
    threads: int
    fma: int
    instructions: Mapping[str, int]
    bytes_read: int
    bytes_written: int
    accesses: Sequence[Access]

    def transfers(self, space: str) -> tuple[int, int]:
        """Sectors of global memory or wavefronts of shared memory, and the least that they could be."""
        chosen = [a for a in self.accesses if a.space == space]
        return sum(a.transfers for a in chosen), sum(a.ideal for a in chosen)


@dataclass(frozen=True)
class Report:
    """What checking a launch showed."""

    kernel: str
    findings: Sequence[Finding]
    counts: Counts

    def __str__(self) -> str:
        counts = self.counts
        sectors, waves = counts.transfers("global"), counts.transfers("shared")
        lines = [
            f"{self.kernel}: {counts.blocks} blocks of {counts.threads} threads, {counts.fma} multiply-adds",
            f"  global: {counts.bytes_read} bytes read, {counts.bytes_written} written; "
            f"{sectors[0]} sectors, at best {sectors[1]}",
            f"  shared: {waves[0]} wavefronts, at best {waves[1]}",
        ]
        return "\n".join([*lines, *(f"  {finding}" for finding in self.findings)])
