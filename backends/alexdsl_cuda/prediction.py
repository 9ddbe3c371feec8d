"""How long a step's launches take on a named card, reckoned from what their kernels execute and move.

What no figure here knows: latencies that no other warp hides, conflicts of registers and of shared memory's banks,
what the second-level cache spares or fails to spare, and clocks under load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alexdsl_cuda.machine import Machine

ISSUED = 128
"""Instructions of threads that a multiprocessor issues in a cycle: four warps'."""
BUSY = 256
"""Threads that a multiprocessor needs to issue at its full rate; with fewer it is slower in proportion."""
REACHED = 0.9
"""The part of the memory's rate that reading and writing in turns reaches."""
GAP = 2e-6
"""Seconds from the end of a kernel to the beginning of the next of its stream."""


@dataclass(frozen=True)
class Work:
    """A launch: what all its blocks do together, and how many blocks a multiprocessor holds at once.

    ``instructions`` are those of threads, multiply-adds among them; ``bytes`` come from memory or go there; ``times``
    is how many such launches a step has, ``precision`` that of what is multiplied.
    """

    name: str
    multiply_adds: float
    instructions: float
    bytes: float
    blocks: int
    threads: int
    resident: int
    times: int = 1
    precision: str = "fp32"


@dataclass(frozen=True)
class Estimate:
    """Seconds of all launches of a work: with nothing but their own kind of delay, and with what delays most."""

    multiplying: float
    issuing: float
    moving: float
    gaps: float

    @property
    def seconds(self) -> float:
        return max(self.multiplying, self.issuing, self.moving) + self.gaps

    @property
    def limit(self) -> str:
        """What delays most."""
        each = {"multiplying": self.multiplying, "issuing": self.issuing, "memory": self.moving, "launching": self.gaps}
        return max(each, key=lambda name: each[name])


def estimate(work: Work, card: Machine) -> Estimate:
    """The launches of a work, one after the other with nothing beside them.

    The busiest multiprocessor decides: blocks are dealt out in waves, and the last wave takes as long as a full one.
    """
    waves = -(-work.blocks // card.multiprocessors)
    part = waves / work.blocks
    threads = min(work.resident, waves) * work.threads
    rate = min(1.0, threads / BUSY) * card.clock
    lanes = card.rate(work.precision) / card.multiprocessors / card.clock
    return Estimate(
        multiplying=work.times * part * work.multiply_adds / (lanes * rate),
        issuing=work.times * part * work.instructions / (ISSUED * rate),
        moving=work.times * work.bytes / (REACHED * card.bandwidth),
        gaps=work.times * GAP,
    )


def step_seconds(works: Sequence[Work], card: Machine) -> float:
    """All launches of a step on one card, one after the other."""
    return sum(estimate(work, card).seconds for work in works)


def assumptions(card: Machine) -> str:
    """What ``estimate`` takes for granted, in words."""
    return (
        f"{card.name}: {card.multiprocessors} multiprocessors at {card.clock / 1e9:.2f} GHz, "
        f"{card.rate('fp32') / 1e12:.1f} T multiply-adds/s in fp32 and "
        f"{card.rate('bf16') / 1e12:.0f} T in bf16 by mma.sync, {card.bandwidth / 1e12:.2f} TB/s of which "
        f"{REACHED:.0%} are reached; {ISSUED} threads' instructions a cycle and multiprocessor, given {BUSY} threads; "
        f"{GAP * 1e6:.0f} us between kernels, none at once; arrays move once per launch"
    )
