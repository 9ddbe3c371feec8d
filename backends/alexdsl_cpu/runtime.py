"""Runs a program on the CPU: arenas as planned, views into them, and a short loop over launches."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from alexdsl_cpu.loader import load_kernels
from alexdsl_cpu.offer import SLOTS
from alexdsl_cpu.workers import Workers

LITTLE, MUCH = 1 << 17, 1 << 20
"""Bytes of an op's operands and results below which one worker does it alone, and of what is brought from which on
several do."""


@dataclass(frozen=True)
class Step:
    """A launch made ready: the compiled kernel and its arguments."""

    op: Op
    function: Callable[..., None]
    args: tuple[Any, ...]
    units: int
    grain: int


class CpuExecutable:
    """A loaded program. Logical devices are arenas of their own in one process; their ops run one after the other,
    each spread over all workers."""

    def __init__(self, program: Graph, threads: int | None = None, progress: Progress = silent) -> None:
        self.program = program
        # BLAS is called per tile from our own threads: more threads of its own would only be in the way.
        threadpool_limits(1, user_api="blas")
        functions = load_kernels(program.kernels, progress)
        self._arenas = {device: _aligned(size) for device, size in program.attrs["arenas"].items()}
        self._views = {r.name: self._view(op, r.name) for op in program for r in op.results}
        self._workers = Workers(max(1, min(threads or available(), SLOTS)))
        self.steps = [self._step(op, launch, functions) for op in program for launch in op.launches]

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

    def _step(self, op: Op, launch: Launch, functions: Mapping[str, Any]) -> Step:
        args = tuple(
            self._argument(op, arg, annotation)
            for arg, annotation in zip(launch.args, launch.attrs["params"], strict=True)
        )
        units, grain = launch.attrs["units"], launch.attrs["grain"]
        # Runs of units long enough that handing them out costs nothing, short enough that the last ones even out. An op
        # on few numbers is done before another worker would have begun.
        touched = sum(self._views[name].nbytes for name in {*op.operands, *(r.name for r in op.results)})
        grain = units if touched < LITTLE else max(grain, units // (8 * self._workers.threads))
        return Step(op, functions[launch.kernel], args, units, grain)

    def _argument(self, op: Op, arg: Any, annotation: str) -> Any:
        if isinstance(arg, str) and arg.startswith("%"):
            return _with_axes(self._views[arg[1:]], annotation)
        if arg == "workspace":
            assert op.device is not None
            start = op.attrs["workspace_at"]
            return self._arenas[op.device][start : start + op.attrs["workspace"]].view(np.float32)
        return np.float32(arg) if annotation == "float" else arg

    def run(self) -> None:
        self._run(self.steps)

    def timed(self) -> Sequence[tuple[Op, float]]:
        found = []
        for op in self.program:
            begun = perf_counter()
            self._run([step for step in self.steps if step.op is op])
            if op.launches:
                found.append((op, perf_counter() - begun))
        return found

    def watched(self, seen: Callable[[Op], None]) -> None:
        launches: dict[int, list[Step]] = {}
        for step in self.steps:
            launches.setdefault(id(step.op), []).append(step)
        for op in self.program:
            if op.launches:
                self._run(launches[id(op)])
                seen(op)

    def peek(self, value: str) -> Array:
        return logical(self._views[value], self.program.type(value))

    def _run(self, steps: Sequence[Step]) -> None:
        workers = self._workers
        # Denormal numbers count as zero while kernels run, in the workers and here; the caller's own mode comes back.
        mode = set_float_mode(FLUSH)
        try:
            for step in steps:
                try:
                    workers.run(step.function, step.args, step.units, step.grain)
                except Exception as error:
                    raise Fault(f"{step.op.origin}, kernel of '{step.op.kind}': {error}") from error
        finally:
            set_float_mode(mode)

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
