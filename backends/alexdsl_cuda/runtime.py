"""Runs a program: arenas as planned on the devices that the logical ones are bound to, and a loop over actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from alexdsl.ir.backend import Fault, Progress, silent
from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.layouts import logical, physical
from alexdsl.ir.protocol import Array
from alexdsl.ir.types import NUMPY
from alexdsl_cuda.abi import ITEMS
from alexdsl_cuda.driver import Argument, Driver, Span, Stream
from alexdsl_cuda.plan import Copy, Run, Signal, plan


class CudaExecutable:
    """A loaded program: an arena and a stream for every logical device, several of which may share a real one."""

    def __init__(self, program: Graph, driver: Driver, bound: Mapping[str, str], progress: Progress = silent) -> None:
        """``bound`` names the real device of each logical one."""
        self.program, self._driver, self._bound = program, driver, bound
        self._sizes = {device: program.attrs["arenas"][device] for device in program.attrs["devices"]}
        self._arenas = {device: driver.allocate(bound[device], size) for device, size in self._sizes.items()}
        actions = self._actions = plan(program)
        # The stream of copies from one device to another belongs to the first.
        streams = dict.fromkeys([*self._sizes, *(action.stream for action in actions)])
        self._streams = {name: driver.stream(bound[name.split(">")[0]]) for name in streams}
        events = {a.event: driver.event(bound[a.stream.split(">")[0]]) for a in actions if isinstance(a, Signal)}
        self._steps = [self._step(action, events, progress) for action in actions]

    @property
    def arenas(self) -> Mapping[str, int]:
        return self._sizes

    @property
    def _home(self) -> Any:
        return self._streams[self.program.attrs["devices"][0]]

    def _step(self, action: Any, events: Mapping[int, Any], progress: Progress) -> tuple[str, Callable[[], None]]:
        """An action as a call, and whom it is done for."""
        driver, stream = self._driver, self._streams[action.stream]
        if isinstance(action, Run):
            progress(action.launch.kernel)
            op = action.op
            prepared = driver.prepare(
                self._bound[str(op.device)],
                action.launch.kernel,
                self.program.kernels[action.launch.kernel],
                action.launch.attrs["grid"],
                action.launch.attrs["block"],
                [self._argument(action, *pair) for pair in self._pairs(action)],
            )
            return f"{op.origin}, kernel of '{op.kind}'", partial(driver.launch, stream, prepared)
        if isinstance(action, Copy):
            target, source = self._place(*action.target), self._place(*action.source)
            return f"{action.op.layer}, copy", partial(driver.copy, stream, target, source, action.size)
        act = driver.signal if isinstance(action, Signal) else driver.wait
        return "events", partial(act, stream, events[action.event])

    def _pairs(self, action: Run) -> list[tuple[Any, str]]:
        return list(zip(action.launch.args, action.launch.attrs["params"], strict=True))

    def _argument(self, action: Run, arg: Any, annotation: str) -> Argument:
        op = action.op
        if isinstance(arg, str) and arg.startswith("%"):
            # In elements of the parameter's own type: a kernel may read bytes four at a time.
            return Span(self._address(arg[1:])[1], annotation, self.program.type(arg[1:]).bytes // ITEMS[annotation])
        if arg == "workspace":
            place, size = op.attrs["workspace_at"], op.attrs["workspace"]
            return Span(self._arenas[str(op.device)] + place, annotation, size // ITEMS[annotation])
        return float(arg) if annotation == "float" else int(arg)

    def _stream(self, value: str) -> Stream:
        """The stream of the device that holds a value: copies from and to the host are made in its own context."""
        return self._streams[str(self.program.producers[value].device)]

    def _address(self, value: str) -> tuple[str, int]:
        offset = self.program.results[value].offset
        assert offset is not None
        return self._place(str(self.program.producers[value].device), offset)

    def _place(self, device: str, offset: int) -> tuple[str, int]:
        """A place in a logical device's arena, on the real device."""
        return self._bound[device], self._arenas[device] + offset

    def run(self) -> None:
        """Hand a step to the devices; ``read`` waits for it."""
        for where, act in self._steps:
            try:
                act()
            except Exception as error:
                raise Fault(f"{where}: {error}") from error

    def timed(self) -> Sequence[tuple[Op, float]]:
        found: dict[str, tuple[Op, float]] = {}
        for action, (_, act) in zip(self._actions, self._steps, strict=True):
            if not isinstance(action, Run | Copy):
                act()
                continue
            seconds = self._driver.elapsed(self._streams[action.stream], act)
            before = found.get(action.op.name, (action.op, 0.0))[1]
            found[action.op.name] = action.op, before + seconds
        return list(found.values())

    def watched(self, seen: Callable[[Op], None]) -> None:
        last = {action.op.name: at for at, action in enumerate(self._actions) if isinstance(action, Run | Copy)}
        for at, (action, (where, act)) in enumerate(zip(self._actions, self._steps, strict=True)):
            try:
                act()
            except Exception as error:
                raise Fault(f"{where}: {error}") from error
            if isinstance(action, Run | Copy) and last[action.op.name] == at:
                self._driver.synchronise(self._streams[action.stream])
                seen(action.op)

    def peek(self, value: str) -> Array:
        return self.read(value)

    def read(self, value: str) -> Array:
        type = self.program.type(value)
        array = np.empty(physical(type), NUMPY[type.dtype])
        self._driver.synchronise(self._home)
        self._driver.download(self._stream(value), array, self._address(value))
        return logical(array, type).copy()

    def write(self, value: str, array: Array, row: int = 0) -> None:
        type = self.program.type(value)
        given = np.shape(array)
        rows = given[0] if given else 1
        if given[1:] != type.shape[1:] or bool(given) != bool(type.shape) or (given and row + rows > type.shape[0]):
            raise ValueError(f"'{value}' has shape {list(type.shape)}, not {list(given)}")
        part = np.asarray(array, NUMPY[type.dtype])
        if type.layout:
            part = part.transpose(0, 2, 3, 1)
        real, address = self._address(value)
        skipped = row * (type.bytes // type.shape[0]) if given else 0
        op = self.program.producers[value]
        # Inputs wait for nothing but the copy that takes the last ones away: they may come while a step goes on.
        fetching = self._streams.get(f"{op.device}>{op.device}")
        if op.kind == "input" and fetching is not None:
            self._driver.feed(fetching, (real, address), np.ascontiguousarray(part))
        else:
            self._driver.synchronise(self._home)
            self._driver.upload(self._stream(value), (real, address + skipped), np.ascontiguousarray(part))

    def close(self) -> None:
        self._driver.close()
