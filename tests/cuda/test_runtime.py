"""The runtime on a driver that only records: what a step asks of the devices, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from alexdsl_cuda import backend as make_backend
from alexdsl_cuda.driver import Span
from alexdsl_cuda.plan import Copy, Run, Signal, Wait, plan
from alexdsl_cuda.runtime import CudaExecutable

from alexdsl.ir.graph import Graph
from alexdsl.language import Source
from alexdsl.passes.pipeline import Options, at_stage
from alexdsl.registry import registry
from alexdsl.spec import from_source
from tests.cuda.two_towers import NET

BOUND = {"gpu0": "cuda:0", "gpu1": "cuda:1"}


class Recorder:
    """A driver that does nothing; every call is a line."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self._next = 1 << 20

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self.calls.append((name, args))
            if name == "allocate":
                self._next += 1 << 30
                return self._next
            return f"{name} {len(self.calls)}"

        return call

    def named(self, name: str) -> Iterator[tuple[Any, ...]]:
        return (args for called, args in self.calls if called == name)


@pytest.fixture(scope="module")
def program() -> Graph:
    kinds = registry()
    spec = from_source(Source("miniature.net", NET))
    return at_stage(spec.graph, Options(kinds, make_backend(kinds)), "program")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def executable(program: Graph, recorder: Recorder) -> CudaExecutable:
    return CudaExecutable(program, recorder, BOUND)


def test_the_arenas_are_the_plan_and_nothing_else_is_allocated(
    program: Graph, recorder: Recorder, executable: CudaExecutable
) -> None:
    assert executable.arenas == program.attrs["arenas"]
    allocated = {BOUND[device]: size for device, size in program.attrs["arenas"].items()}
    assert dict(recorder.named("allocate")) == allocated


def test_a_step_hands_over_the_plan_and_waits_for_nothing(
    program: Graph, recorder: Recorder, executable: CudaExecutable
) -> None:
    recorder.calls.clear()
    executable.run()
    names = {Run: "launch", Copy: "copy", Signal: "signal", Wait: "wait"}
    assert [name for name, _ in recorder.calls] == [names[type(action)] for action in plan(program)]
    first = list(recorder.calls)
    recorder.calls.clear()
    executable.run()
    assert recorder.calls == first, "the second step is the first one again, to the last argument"


def test_arguments_lie_inside_their_devices_arenas(
    program: Graph, recorder: Recorder, executable: CudaExecutable
) -> None:
    addresses = [(1 << 20) + (i + 1 << 30) for i in range(len(BOUND))]
    starts = dict(zip(BOUND.values(), addresses, strict=True))
    sizes = {BOUND[device]: size for device, size in program.attrs["arenas"].items()}
    width = {"F1": 4, "U1": 1, "I1": 4, "L1": 8}
    spans = 0
    for device, _kernel, source, grid, block, args in recorder.named("prepare"):
        assert "def kernel(" in source
        assert min(*grid, *block) >= 1
        for arg in args:
            if isinstance(arg, Span):
                spans += 1
                begin = arg.address - starts[device]
                assert begin % 64 == 0
                assert 0 <= begin <= begin + arg.count * width[arg.annotation] <= sizes[device]
    assert spans > 100


def test_inputs_are_fed_beside_the_step_and_weights_in_its_order(
    program: Graph, recorder: Recorder, executable: CudaExecutable
) -> None:
    streams = [f"stream {i + 1}" for i, (name, _) in enumerate(recorder.calls) if name == "stream"]
    recorder.calls.clear()
    shape = program.type("image").shape
    executable.write("image", np.zeros(shape, np.float32))
    executable.write("fc8.weight", np.zeros(program.type("fc8.weight").shape, np.float32))
    (feed,), (upload,) = recorder.named("feed"), recorder.named("upload")
    assert feed[0] in streams
    assert feed[0] != upload[0]
    assert feed[2].nbytes == program.type("image").bytes
    with pytest.raises(ValueError, match="'image' has shape"):
        executable.write("image", np.zeros((1, 2), np.float32))


def test_reading_waits_for_the_step(program: Graph, recorder: Recorder, executable: CudaExecutable) -> None:
    recorder.calls.clear()
    executable.read(program.outputs["loss"])
    assert [name for name, _ in recorder.calls] == ["synchronise", "download"]
