"""Modules of PTX and the launching of their kernels on this machine's processor.

A kernel is translated to LLVM IR and compiled, not interpreted, a thread at a time: what a thread does between two
sync points is a plain function, in which LLVM keeps registers in registers and vectorises what one thread does in a
row (the 64 multiply-adds of an 8 x 8 tile are eight vectors). A scheduler, compiled with it, calls that function for
one thread after the other, so threads that part cost nothing. Vectorising over threads was not tried: it needs masks
wherever threads part and gathers wherever they load. Compiling takes a tenth of a second to a second.

Not modelled: time, caches, and the order in which other blocks see memory. Blocks run in any order, on several threads;
their atomics are atomic. Without checks a wrong address ends the process.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from alexdsl_cuda.emulator.emit import CONTEXT, MAIL_BYTES, MOST_THREADS, NUMBERS
from alexdsl_cuda.emulator.memory import aligned
from alexdsl_cuda.emulator.native import Native, is_x86
from alexdsl_cuda.emulator.params import pack
from alexdsl_cuda.emulator.parse import parse
from alexdsl_cuda.emulator.ptx import Param, layout
from alexdsl_cuda.emulator.schedule import CONTEXT_BYTES, STUCK_BLOCK, STUCK_WARP, place
from alexdsl_cuda.emulator.translate import TRAPPED, Translation, static_shared, translate

Extent = tuple[int, int, int]
"""Blocks of a grid or threads of a block, along x, y and z."""
MOST_BLOCKS = (2**31 - 1, 2**16 - 1, 2**16 - 1)
"""What CUDA allows of every processor from compute capability 3.0 on."""
WORTH_THREADS = 1e-3
"""Seconds of work, as the first part foretells them, from which on others are asked to help."""
_ERRORS = {
    STUCK_WARP: "threads of a warp wait for others of it that wait elsewhere",
    STUCK_BLOCK: "threads wait at a barrier that the others do not come to",
    TRAPPED: "the kernel executed a trap",
}


class LaunchError(RuntimeError):
    """A kernel that cannot be launched so, or that cannot go on."""


@dataclass(frozen=True)
class KernelInfo:
    """A kernel's parameters, with their offsets and sizes, and the bytes of shared memory that it declares."""

    name: str
    params: Sequence[Param]
    static_shared: int


@dataclass(frozen=True)
class Compiled:
    """A kernel's machine code and what it needs."""

    native: Native
    translation: Translation


class Module:
    """A PTX text, ready to launch its ``kernels``. Raises ``PtxError`` if the text is not understood."""

    def __init__(self, ptx: str) -> None:
        self.program = parse(ptx)
        self.kernels: Mapping[str, KernelInfo] = {
            name: KernelInfo(name, function.params, layout(static_shared(self.program, function))[1])
            for name, function in self.program.functions.items()
            if function.entry
        }
        self._lock = threading.Lock()
        self._compiled: dict[tuple[str, bool], Compiled] = {}
        self.globals = {
            v.name: aligned(max(v.size, 1), max(v.align, 16))
            for v in self.program.variables.values()
            if v.space in ("global", "const")
        }
        for name, memory in self.globals.items():
            initial = self.program.variables[name].initial or b""
            memory[:] = 0
            memory[: len(initial)] = np.frombuffer(initial, np.uint8)

    def compiled(self, entry: str, *, checks: bool = False) -> Compiled:
        """The kernel's machine code; it is made once. Raises ``PtxError`` for what is not understood."""
        if entry not in self.kernels:
            raise LaunchError(f"there is no kernel '{entry}'; there are {sorted(self.kernels)}")
        with self._lock:
            if (entry, checks) not in self._compiled:
                addresses = {name: memory.ctypes.data for name, memory in self.globals.items()}
                made = translate(self.program, entry, addresses, checks=checks, x86=is_x86())
                self._compiled[entry, checks] = Compiled(Native(made.text), made)
            return self._compiled[entry, checks]


def launch(
    module: Module,
    entry: str,
    grid: Extent,
    block: Extent,
    params: bytes | Sequence[int | float],
    shared_bytes: int = 0,
    threads: int | None = None,
) -> None:
    """Runs a kernel over its whole grid and waits for it.

    ``params`` are the bytes of the kernel's parameters, or their values in order; pointers are addresses of this
    process's memory, such as ``array.ctypes.data``. ``shared_bytes`` are what the launch adds for ``.extern .shared``.
    Blocks run on so many ``threads`` (all of the machine's). Raises ``LaunchError`` if the kernel cannot go on.
    """
    compiled = module.compiled(entry)
    data = bytes_of(module.kernels[entry], params)
    total = grid[0] * grid[1] * grid[2]
    if total == 0:
        return
    count = min(threads or len(os.sched_getaffinity(0)), total)
    work = _Work(compiled, entry, total, max(1, total // (8 * count)))
    own = Context(compiled.translation, grid, block, data, shared_bytes)
    begun = time.perf_counter()
    work.part(own)
    if (time.perf_counter() - begun) * (total // work.step - 1) > WORTH_THREADS:
        others = [Context(compiled.translation, grid, block, data, shared_bytes) for _ in range(count - 1)]
        helpers = [threading.Thread(target=work.all, args=(context,)) for context in others]
    else:
        helpers = []
    for helper in helpers:
        helper.start()
    work.all(own)
    for helper in helpers:
        helper.join()
    if work.failures:
        raise LaunchError(work.failures[0])


class _Work:
    """The blocks of a launch, which workers take in parts of so many."""

    def __init__(self, compiled: Compiled, entry: str, total: int, step: int) -> None:
        self.compiled, self.entry, self.total, self.step = compiled, entry, total, step
        self.starts = iter(range(0, total, step))
        self.lock = threading.Lock()
        self.failures: list[str] = []

    def part(self, context: Context) -> bool:
        """Runs the next part; whether there was one."""
        with self.lock:
            first = next(self.starts, None)
        if first is None or self.failures:
            return False
        error = self.compiled.native.run(context.address, first, min(first + self.step, self.total))
        error = error or context.number("error")
        if error:
            self.failures.append(f"kernel '{self.entry}', block {context.block()}: {_ERRORS[error]}")
        return True

    def all(self, context: Context) -> None:
        """Runs parts until there are no more."""
        while self.part(context):
            pass


def bytes_of(kernel: KernelInfo, params: bytes | Sequence[int | float]) -> bytes:
    """A kernel's parameters as its block of parameters holds them. Raises ``LaunchError`` if they do not fit."""
    size = max((p.offset + p.size for p in kernel.params), default=0)
    if isinstance(params, bytes):
        data = params
    elif len(params) != len(kernel.params):
        raise LaunchError(f"kernel '{kernel.name}' takes {len(kernel.params)} parameters, not {len(params)}")
    else:
        data = pack([(p.type, p.offset) for p in kernel.params], params)
    if len(data) != size:
        raise LaunchError(f"kernel '{kernel.name}' takes {size} bytes of parameters, not {len(data)}")
    return data


@cache
def _thread_places(block: Extent) -> npt.NDArray[np.int32]:
    """The coordinates x, y and z of a block's threads, in three rows."""
    places = np.zeros((3, MOST_THREADS), np.int32)
    count = block[0] * block[1] * block[2]
    places[:, :count] = np.indices(block[::-1], np.int32).reshape(3, count)[::-1]
    return places


class Context:
    """What one worker hands to a kernel: the launch's numbers, and memory for one block at a time."""

    def __init__(self, made: Translation, grid: Extent, block: Extent, params: bytes, shared_bytes: int) -> None:
        count = block[0] * block[1] * block[2]
        if not 0 < count <= MOST_THREADS:
            raise LaunchError(f"a block of {block} threads; there may be {MOST_THREADS}")
        if any(blocks > most for blocks, most in zip(grid, MOST_BLOCKS, strict=True)):
            raise LaunchError(f"a grid of {grid} blocks; there may be {MOST_BLOCKS}")
        padded = -(-count // 32) * 32
        self.shared = aligned(max(made.static_shared + shared_bytes, 1), 1024)
        self.state = np.full(padded, -1, np.int32)
        arrays: dict[str, npt.NDArray[Any]] = {
            "params": np.frombuffer(params + bytes(16), np.uint8),
            "shared": self.shared,
            "registers": aligned(padded * made.register_bytes + 1, 64),
            "local": aligned(padded * made.local_bytes + 1, 64),
            "mail": aligned(padded // 32 * MAIL_BYTES, 64),
            "state": self.state,
            "tids": _thread_places(block),
        }
        self.made, self._arrays = made, arrays
        self._memory = aligned(CONTEXT_BYTES, 64)
        self._memory[:] = 0
        for name, array in arrays.items():
            self.point(name, array.ctypes.data)
        for prefix, extent in (("nctaid", grid), ("ntid", block)):
            for axis, n in zip("xyz", extent, strict=True):
                self.set(f"{prefix}.{axis}", n)
        self.set("threads", count)
        self.set("shared_bytes", made.static_shared + shared_bytes)

    @property
    def address(self) -> int:
        return self._memory.ctypes.data

    def point(self, name: str, address: int) -> None:
        """Sets one of the context's pointers."""
        self._memory[: 8 * len(CONTEXT)].view(np.uint64)[CONTEXT.index(name)] = address

    def set(self, name: str, value: int) -> None:
        """Sets one of the context's numbers."""
        self._numbers()[NUMBERS.index(name)] = value

    def number(self, name: str) -> int:
        return int(self._numbers()[NUMBERS.index(name)])

    def block(self) -> Extent:
        """The block that was run last."""
        return self.number("ctaid.x"), self.number("ctaid.y"), self.number("ctaid.z")

    def _numbers(self) -> npt.NDArray[np.uint32]:
        first = place(NUMBERS[0])
        return self._memory[first : first + 4 * len(NUMBERS)].view(np.uint32)
