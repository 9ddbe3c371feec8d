"""The device ``emu:checked``: kernels in the emulator with every access looked at, and held against what the program
says of its memory. Slow; for small batches."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from alexdsl.ir.backend import Fault, Progress, silent
from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.protocol import Array
from alexdsl_cuda import emulator
from alexdsl_cuda.abi import ITEMS
from alexdsl_cuda.driver import Address, Argument, Prepared, Span, Stream
from alexdsl_cuda.emulated import Emulated
from alexdsl_cuda.emulator.memory import WRITTEN
from alexdsl_cuda.plan import Copy, Run
from alexdsl_cuda.runtime import CudaExecutable

SHOWN = 5
"""Findings of a launch that are told; there may be more."""


@dataclass(frozen=True)
class _Launch:
    kernel: str
    prepared: Prepared
    spans: Sequence[Span]


class Checked(Emulated):
    """Launches may touch their own arguments alone, and read only bytes of them that are written. Raises Fault
    for what a launch does wrong: races, unwritten memory, accesses outside of the values that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[Address, Array] = {}
        self.names: Mapping[Address, str] = {}
        """Names of the values at the next launch's arguments."""

    def allocate(self, device: str, size: int) -> Address:
        address = super().allocate(device, size)
        self._written[address] = np.zeros(size, np.uint8)
        return address

    def written(self, address: Address, size: int) -> Array:
        """Of every byte whether it is written, 0 or ``WRITTEN``; a view that can be changed."""
        start, flags = next((s, f) for s, f in self._written.items() if s <= address and address + size <= s + len(f))
        return flags[address - start : address - start + size]

    def copy(self, stream: Stream, target: tuple[str, Address], source: tuple[str, Address], size: int) -> None:
        super().copy(stream, target, source, size)
        self.written(target[1], size)[:] = self.written(source[1], size)

    def upload(self, stream: Stream, target: tuple[str, Address], array: Array) -> None:
        super().upload(stream, target, array)
        self.written(target[1], array.nbytes)[:] = WRITTEN

    def download(self, stream: Stream, array: Array, source: tuple[str, Address]) -> None:
        missing = np.count_nonzero(self.written(source[1], array.nbytes) == 0)
        if missing:
            raise Fault(f"{missing} of the {array.nbytes} bytes that are read were never written")
        super().download(stream, array, source)

    def prepare(
        self, device: str, kernel: str, source: str, grid: tuple[int, int, int], block: tuple[int, int, int],
        args: Sequence[Argument],
    ) -> Prepared:  # fmt: skip
        prepared = super().prepare(device, kernel, source, grid, block, args)
        return _Launch(kernel, prepared, [arg for arg in args if isinstance(arg, Span)])

    def launch(self, stream: Stream, prepared: Prepared) -> None:
        memory = emulator.Memory()
        places = _disjoint([(span.address, span.count * ITEMS[span.annotation]) for span in prepared.spans])
        for address, size in places:
            memory.add(_bytes(address, size), self._name(address, size), written=False)
            memory.known(address, size)[:] = self.written(address, size)
        made = prepared.prepared
        report = emulator.check(made.module, "kernel", made.grid, made.block, made.params, memory)
        for place in places:
            np.bitwise_and(memory.known(*place), WRITTEN, out=self.written(*place))
        if report.findings:
            raise Fault(_told(prepared.kernel, report.findings))

    def _name(self, address: Address, size: int) -> str:
        return " and ".join(name for at, name in self.names.items() if address <= at < address + size)


def _bytes(address: Address, size: int) -> Array:
    raw: Any = (ctypes.c_uint8 * size).from_address(address)
    array: Array = np.frombuffer(raw, np.uint8)
    return array


def _disjoint(places: Sequence[tuple[Address, int]]) -> list[tuple[Address, int]]:
    """The bytes of all places; those that overlap become one."""
    found: list[tuple[Address, int]] = []
    for address, size in sorted(place for place in places if place[1]):
        last, length = found[-1] if found else (0, 0)
        if found and address < last + length:
            found[-1] = last, max(length, address + size - last)
        else:
            found.append((address, size))
    return found


def _told(kernel: str, findings: Sequence[emulator.Finding]) -> str:
    lines = [f"{finding}, address {finding.address:#x}" for finding in findings[:SHOWN]]
    more = [f"and {len(findings) - SHOWN} more"] if len(findings) > SHOWN else []
    return "\n  ".join([f"{kernel}, {len(findings)} findings (lines of `ir --as ptx --card a100`):", *lines, *more])


class CheckedExecutable(CudaExecutable):
    """A program on the checking driver. What an op makes and its workspace are unwritten when it begins, so that no
    kernel reads there what was left by another op."""

    _driver: Checked

    def __init__(self, program: Graph, bound: Mapping[str, str], progress: Progress = silent) -> None:
        super().__init__(program, Checked(), bound, progress)
        for op in program:
            # Memory that is allocated holds zeros, with which a solver's state begins.
            if op.kind == "state":
                self._driver.written(*self._span(op.name))[:] = WRITTEN

    def _step(self, action: Any, events: Mapping[int, Any], progress: Progress) -> tuple[str, Callable[[], None]]:
        where, act = super()._step(action, events, progress)
        if not isinstance(action, Run | Copy):
            return where, act
        first = isinstance(action, Copy) or action.launch is action.op.launches[0]
        names = self._names(action) if isinstance(action, Run) else {}
        return where, partial(self._act, act, names, self._fresh(action.op) if first else [])

    def _act(self, act: Callable[[], None], names: Mapping[int, str], fresh: Sequence[tuple[int, int]]) -> None:
        for place in fresh:
            self._driver.written(*place)[:] = 0
        self._driver.names = names
        act()

    def _span(self, value: str) -> tuple[int, int]:
        """A value's address and bytes."""
        return self._address(value)[1], self.program.type(value).bytes

    def _workspace(self, op: Op) -> list[tuple[int, int]]:
        size = op.attrs.get("workspace", 0)
        return [(self._arenas[str(op.device)] + op.attrs["workspace_at"], size)] if size else []

    def _names(self, action: Run) -> dict[int, str]:
        values = [arg for arg in action.launch.args if isinstance(arg, str) and arg.startswith("%")]
        scratch = {address: "workspace" for address, _ in self._workspace(action.op)}
        return scratch | {self._span(name[1:])[0]: name for name in values}

    def _fresh(self, op: Op) -> list[tuple[int, int]]:
        """What the op is to write before anything reads it: its results, but for those in an operand's place."""
        read = {self._span(name) for name in op.operands}
        results = [self._span(r.name) for r in op.results]
        return [*(place for place in results if place not in read), *self._workspace(op)]
