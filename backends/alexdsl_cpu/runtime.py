"""Runs a program on the CPU: arenas as planned, views into them, and a short loop over launches."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from math import prod
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from alexdsl.ir.backend import Fault, Progress, silent
from alexdsl.ir.graph import Graph, Launch, Op
from alexdsl.ir.layouts import logical, physical
from alexdsl.ir.protocol import Array
from alexdsl.ir.types import NUMPY
from alexdsl_cpu.intrinsics import FLUSH, set_float_mode
from alexdsl_cpu.launches import Table, sources
from alexdsl_cpu.loader import load_kernels
from alexdsl_cpu.offer import SLOTS
from alexdsl_cpu.workers import Workers

LITTLE, MUCH = 1 << 17, 1 << 20
"""Bytes of an op's operands and results below which one worker does it alone, and of what is brought from which on
several do."""


class CpuExecutable:
    """A loaded program. Logical devices are arenas of their own in one process; their ops run one after the other,
    each spread over all workers."""

    def __init__(self, program: Graph, threads: int | None = None, progress: Progress = silent) -> None:
        self.program = program
        # BLAS is called per tile from our own threads: more threads of its own would only be in the way.
        threadpool_limits(1, user_api="blas")
        loops = sources()
        functions = load_kernels({**loops, **program.kernels}, progress)
        self._arenas = {device: _aligned(size) for device, size in program.attrs["arenas"].items()}
        self._views = {r.name: self._view(op, r.name) for op in program for r in op.results}
        threads = max(1, min(threads or available(), SLOTS))
        self.table = Table()
        self._ops: list[tuple[Op, int, int]] = []
        for op in program:
            first = len(self.table)
            for launch in op.launches:
                self._add(op, launch, functions, threads)
            self._ops.append((op, first, len(self.table)))
        self._workers = Workers(threads, self.table, *(functions[name] for name in loops))

    @property
    def arenas(self) -> Mapping[str, int]:
        return {device: arena.nbytes for device, arena in self._arenas.items()}

    @property
    def threads(self) -> int:
        return self._workers.threads

    def _view(self, op: Op, name: str) -> Array:
        """A value's array in its arena, in the shape in which it lies there."""
        result = self.program.results[name]
        type = self.program.type(name)
        assert op.device is not None
        assert result.offset is not None
        raw = self._arenas[op.device][result.offset : result.offset + type.bytes]
        return raw.view(NUMPY[type.dtype]).reshape(physical(type))

    def _add(self, op: Op, launch: Launch, functions: Mapping[str, Any], threads: int) -> None:
        """A launch made ready: its kernel, its arguments and its units."""
        args = [
            self._argument(op, arg, annotation)
            for arg, annotation in zip(launch.args, launch.attrs["params"], strict=True)
        ]
        units, grain = launch.attrs["units"], launch.attrs["grain"]
        # Runs of units long enough that handing them out costs nothing, short enough that the last ones even out. An op
        # on few numbers is done before another worker would have begun.
        touched = sum(self._views[name].nbytes for name in {*op.operands, *(r.name for r in op.results)})
        grain = units if touched < LITTLE else max(grain, units // (8 * threads))
        self.table.add(functions[launch.kernel], args, units, grain)

    def _argument(self, op: Op, arg: Any, annotation: str) -> Any:
        if isinstance(arg, str) and arg.startswith("%"):
            return _with_axes(self._views[arg[1:]], annotation)
        if arg == "workspace":
            assert op.device is not None
            start = op.attrs["workspace_at"]
            return self._arenas[op.device][start : start + op.attrs["workspace"]].view(np.float32)
        return np.float32(arg) if annotation == "float" else arg

    def run(self) -> None:
        self._run(0, len(self.table))

    def timed(self) -> Sequence[tuple[Op, float]]:
        found = []
        for op, first, last in self._ops:
            begun = perf_counter()
            self._run(first, last)
            if op.launches:
                found.append((op, perf_counter() - begun))
        return found

    def watched(self, seen: Callable[[Op], None]) -> None:
        for op, first, last in self._ops:
            if op.launches:
                self._run(first, last)
                seen(op)

    def peek(self, value: str) -> Array:
        return logical(self._views[value], self.program.type(value))

    def _run(self, first: int, last: int) -> None:
        # Denormal numbers count as zero while kernels run, in the workers and here; the caller's own mode comes back.
        mode = set_float_mode(FLUSH)
        try:
            failed = self._workers.launch(first, last)
        finally:
            set_float_mode(mode)
        if failed is not None:
            op = next(op for op, first, last in self._ops if first <= failed < last)
            raise Fault(f"{op.origin}, kernel of '{op.kind}': it stopped with an error")

    def read(self, value: str) -> Array:
        return logical(self._views[value], self.program.type(value)).copy()

    def write(self, value: str, array: Array, row: int = 0) -> None:
        view = logical(self._views[value], self.program.type(value))
        given = np.shape(array)
        target = view if not view.ndim else view[row : row + given[0]] if given else view[:0]
        if target.shape != given:
            raise ValueError(f"'{value}' has shape {list(view.shape)}, not {list(given)}")
        if target.nbytes < MUCH:
            target[...] = array
            return
        # Channels change places, which is slow for one worker. NumPy copies without the GIL.
        rows = -(-len(target) // self._workers.threads)
        self._workers.run(_copy, (target, np.asarray(array)), len(target), rows)

    def close(self) -> None:
        self._workers.close()


def available() -> int:
    """Cores that this process may use; ``ALEXDSL_THREADS`` asks for fewer."""
    cores = len(os.sched_getaffinity(0))
    asked = os.environ.get("ALEXDSL_THREADS", "")
    return min(cores, int(asked)) if asked.isdigit() and int(asked) > 0 else cores


def _aligned(size: int) -> Array:
    """An arena of ``size`` zero bytes at a multiple of 64."""
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


def _copy(lo: int, hi: int, slot: int, target: Array, source: Array) -> None:
    """Rows of an array, as a worker's units."""
    target[lo:hi] = source[lo:hi]


def _with_axes(view: Array, annotation: str) -> Array:
    """The view with as many axes as the kernel's parameter: one is flat, two are rows."""
    axes = int(annotation[-1])
    if view.ndim == axes:
        return view
    if axes == 1:
        return view.reshape(-1)
    rows = view.shape[0] if view.ndim else 1
    return view.reshape(rows, prod(view.shape[1:]) if view.ndim else 1)
