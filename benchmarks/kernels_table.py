"""A launch as a row of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from alexdsl_cuda.analysis.report import Report as Static

from benchmarks.kernels_bars import executed, moved
from benchmarks.kernels_launches import Subject
from benchmarks.kernels_measured import Measured

Row: TypeAlias = Mapping[str, str]

HEADINGS = """\
times: such launches in a step; regs: registers of a thread; mem: bytes of spills and stack, and instructions to local
memory; f64: instructions in float64; calls: in PTX, and after + ways that machine code takes for rare quotients and
roots; mult: part of the hot loop's instructions that multiply; s128, g128: parts of the bytes read from shared memory,
and moved from and to global memory, by 128-bit accesses; ahead: multiplications from a load to its first use; occ:
warps at once of those possible; exec: executed over useful multiply-adds; sect, wave: sectors of global memory and
wavefronts of shared memory over the least possible; moved: bytes over the op's own; s: seconds in Numba's compiler.
Two figures are those of two processors."""
NAMES = ("op", "kernel")
"""The headings of what are no figures."""


def row(subject: Subject, measured: Mapping[str, Measured]) -> Row:
    """What is known of a launch, by heading."""
    one = measured[subject.kernel]
    traffic = one.traffic
    every = list(one.static.values())

    def each(show: Callable[[Static], str]) -> str:
        return "/".join(dict.fromkeys(show(static) for static in every))

    multiplies = subject.multiplies
    return {
        "op": subject.op,
        "kernel": subject.kernel,
        "times": str(subject.times),
        "grid": "x".join(map(str, subject.grid)),
        "block": str(subject.threads),
        "regs": each(lambda s: str(s.registers)),
        "mem": each(lambda s: str(s.spills + s.stack + s.local)),
        "f64": each(lambda s: str(s.doubles)),
        "calls": each(lambda s: f"{one.calls}+{s.calls}" if s.calls else str(one.calls)),
        "mult": each(lambda s: f"{s.loop.share:.1%}") if multiplies else "",
        "s128": f"{traffic.shared_wide:.0%}" if multiplies else "",
        "g128": f"{traffic.wide:.0%}",
        "ahead": each(lambda s: str(s.loop.ahead)) if multiplies else "",
        "occ": each(lambda s: f"{s.occupancy:.0%}"),
        "exec": f"{executed(subject, traffic) / subject.useful:.2f}" if multiplies else "",
        "sect": _ratio(traffic.sectors),
        "wave": _ratio(traffic.wavefronts),
        "moved": "" if subject.product else f"{moved(subject, measured):.2f}",
        "s": f"{one.seconds:.1f}",
    }


def _ratio(pair: tuple[int, int]) -> str:
    return f"{pair[0] / pair[1]:.2f}" if pair[1] else ""
