"""A kernel launch looked at: its code on named processors, and what some of its blocks do in the emulator."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
from alexdsl_cuda.abi import pack
from alexdsl_cuda.analysis import analyse
from alexdsl_cuda.analysis.report import Report as Static
from alexdsl_cuda.compiler import cache_folder, compile_ptx
from alexdsl_cuda.driver import Argument, Span
from alexdsl_cuda.emulated import CAPABILITY
from alexdsl_cuda.emulator import Memory, Module, check
from alexdsl_cuda.emulator.report import Counts
from numpy.typing import NDArray

from alexdsl.ir.kernels import fingerprint
from alexdsl.ir.store import write_once
from benchmarks.kernels_launches import Arg, Extent, Subject

RUNS, SHORTEST, LONGEST = 3, 8, 128
"""Of a kernel that does not multiply so many runs of neighbouring blocks are emulated, of so many blocks."""
REACH = 2_000_000
"""Bytes that a run touches if it may be so long: more than what blocks far apart in a grid read twice."""
ALIGN = 256
"""What the addresses of arrays are multiples of."""
LAYERS_OF_GRID = 4
"""Up to so many copies along z are all emulated, a block of each: those of a stride's phases differ."""
WIDE = (".v4.", ".x4.", "cp.async.cg")
"""What the opcodes of 128-bit accesses have in them: vectors, four matrices, copies past the first-level cache."""
CACHED = 0.02
"""Seconds within which nothing is compiled: it was in the cache."""


@dataclass(frozen=True)
class Traffic:
    """What the emulated blocks did: parts are those of the bytes or transfers of all accesses of a kind."""

    blocks: int
    multiply_adds: int
    instructions: int
    """Executed by threads."""
    moved: int
    """Different bytes of global memory that were read and written."""
    sectors: tuple[int, int]
    """Sectors of global requests, and the least that they could be."""
    wavefronts: tuple[int, int]
    """The same of shared memory's banks."""
    wide: float
    """The part of the bytes to and from global memory that 128-bit accesses move."""
    shared_wide: float
    """The part of the bytes read from shared memory that 128-bit loads read."""
    findings: Sequence[str]


@dataclass(frozen=True)
class Measured:
    """A kernel's code by processor, the seconds in which Numba compiled it, and its traffic.

    ``calls`` are those of its PTX. Machine code has others, for the rare numbers whose quotient or root takes a longer
    way: the static report counts them.
    """

    static: Mapping[tuple[int, int], Static]
    calls: int
    seconds: float
    traffic: Traffic


def measure(subject: Subject, capabilities: Sequence[tuple[int, int]]) -> Measured:
    """Compiles, assembles and emulates; PTX and the seconds that it took are kept in the cache of kernels."""
    seconds = max(compile_seconds(subject.source, c) for c in {*capabilities, CAPABILITY})
    static = {c: analyse(subject.source, c, subject.threads) for c in capabilities}
    calls = len(re.findall(r"^\s*call\b", compile_ptx(subject.source, CAPABILITY), re.MULTILINE))
    return Measured(static, calls, seconds, traffic(subject))


def warm_up() -> None:
    """Imports and compiles what the first kernel would wait for."""
    with _cold_cache():
        compile_ptx('"""Nothing."""\nfrom alexdsl_cuda.intrinsics import *\n\nSIGNATURE = "void()"\n\n\n'
                    "def kernel():\n    return\n", CAPABILITY)  # fmt: skip


def compile_seconds(source: str, capability: tuple[int, int]) -> float:
    """Seconds of this process that the kernel's PTX takes from nothing: measured once, then remembered."""
    note = cache_folder() / f"kernel_{fingerprint(source)}.sm_{capability[0]}{capability[1]}.seconds"
    if not note.exists():
        seconds = _compiling(source, capability)
        if seconds < CACHED:
            with _cold_cache():
                seconds = _compiling(source, capability)
        write_once(note, f"{seconds:.3f}\n")
    return float(note.read_text())


def _compiling(source: str, capability: tuple[int, int]) -> float:
    began = process_time()
    compile_ptx(source, capability)
    return process_time() - began


@contextmanager
def _cold_cache() -> Iterator[None]:
    before = os.environ.get("ALEXDSL_CACHE")
    with TemporaryDirectory(prefix="alexdsl-kernels-") as folder:
        os.environ["ALEXDSL_CACHE"] = str(Path(folder))
        try:
            yield
        finally:
            if before is None:
                del os.environ["ALEXDSL_CACHE"]
            else:
                os.environ["ALEXDSL_CACHE"] = before


def traffic(subject: Subject) -> Traffic:
    """Emulates some blocks, every access looked at, in arrays of the real sizes that hold zeros."""
    module = Module(compile_ptx(subject.source, CAPABILITY))
    places, size = {}, 0
    for name, bytes in {arg.name: arg.bytes for arg in subject.args if arg.name}.items():
        places[name], size = size, size + bytes + -bytes % ALIGN
    memory = Memory()
    arrays = zeros(size)
    memory.add(arrays, "arrays", written=False)
    start: int = arrays.ctypes.data
    params = pack([_argument(arg, start + places.get(arg.name, 0)) for arg in subject.args])
    report = check(module, "kernel", subject.grid, subject.block, params, memory, blocks=sample(subject))
    return _traffic(report.counts, [str(finding) for finding in report.findings if finding.kind != "unwritten"])


def zeros(size: int) -> NDArray[np.uint8]:
    """So many bytes that are aligned; their pages are not there before they are touched, so that any number fits."""
    raw = np.zeros(size + ALIGN, np.uint8)
    start = -raw.ctypes.data % ALIGN
    return raw[start : start + size]


def _argument(arg: Arg, address: int) -> Argument:
    if arg.name:
        return Span(address, arg.annotation, arg.count)
    return float(arg.value) if arg.annotation == "float" else int(arg.value)


def sample(subject: Subject) -> list[Extent]:
    """The blocks that are emulated: of a product's grid one in the middle, for each layer of the grid if those are
    few; otherwise runs of neighbours at the beginning, in the middle and at the end."""
    wide, high, deep = subject.grid
    if subject.multiplies:
        layers = range(deep) if deep <= LAYERS_OF_GRID else [deep // 2]
        return [(wide // 2, high // 2, z) for z in layers]
    total = subject.blocks
    run = min(max(SHORTEST, REACH * total // max(subject.bytes, 1)), LONGEST)
    starts = [round(k * (total - run) / (RUNS - 1)) for k in range(RUNS)]
    numbers = range(total) if total <= RUNS * run else [first + i for first in starts for i in range(run)]
    # Along y first: where a grid is a plane, x counts images or parts of them, and y the rows that share halos.
    return [(n // high % wide, n % high, n // (wide * high)) for n in numbers]


def _traffic(counts: Counts, findings: Sequence[str]) -> Traffic:
    glob = [(a.bytes, a.opcode) for a in counts.accesses if a.space == "global"]
    shared = [(a.bytes, a.opcode) for a in counts.accesses if a.space == "shared" and a.opcode.startswith("ld")]
    return Traffic(
        blocks=counts.blocks,
        multiply_adds=counts.fma,
        instructions=sum(counts.instructions.values()),
        moved=counts.bytes_read + counts.bytes_written,
        sectors=counts.transfers("global"),
        wavefronts=counts.transfers("shared"),
        wide=_wide(glob),
        shared_wide=_wide(shared),
        findings=findings,
    )


def _wide(accesses: Sequence[tuple[int, str]]) -> float:
    total = sum(size for size, _ in accesses)
    return sum(size for size, opcode in accesses if any(wide in opcode for wide in WIDE)) / total if total else 1.0
