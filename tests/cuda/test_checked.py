"""The checking driver: sound programs run as on the emulator; of others it says what is wrong, and where."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from alexdsl_cuda.backend import CudaBackend
from alexdsl_cuda.driver import Span

from alexdsl.ir.backend import Executable, Fault
from alexdsl.ir.graph import Graph, Launch
from alexdsl.ir.protocol import Array
from alexdsl.ir.structure import LEAVES
from alexdsl.language import Source
from alexdsl.passes.pipeline import Options, at_stage
from alexdsl.registry import registry
from alexdsl.spec import from_source

pytestmark = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="needs numba-cuda to compile kernels: pip install alexdsl[cuda]"
)
NET = """
net small
data d { source = sample("fashion"), batch = 2 }
default linear { weight = normal(0.1), bias = 0 }
input image [8, 9, 9]
pooled = lrn(image) | maxpool(3, stride=2)
scores = linear(pooled, 16)
loss   = softmax_cross_entropy(scores, label)
solver sgd { lr = 0.1, momentum = 0.9, epochs = 1 }
"""


@pytest.fixture(scope="module")
def program() -> Graph:
    kinds = registry()
    return at_stage(from_source(Source("small.net", NET)).graph, Options(kinds, CudaBackend(kinds), "train"), "program")


def leaves(program: Graph) -> dict[str, Array]:
    """Values for all leaves but the solver's state, which begins with zeros."""
    random = np.random.default_rng(3)
    found: dict[str, Array] = {}
    for op in program:
        if op.kind in LEAVES and op.kind != "state":
            type = program.type(op.name)
            integers = type.dtype in ("i32", "i64")
            found[op.name] = random.integers(0, 10, type.shape) if integers else random.normal(size=type.shape)
    return found


def run(program: Graph, executable: Executable) -> dict[str, Array]:
    """What a step leaves: outputs, weights and the solver's state."""
    for name, array in leaves(program).items():
        executable.write(name, array)
    executable.run()
    kept = [op.name for op in program if op.kind in ("parameter", "state")]
    found = {name: executable.read(name) for name in (*program.outputs.values(), *kept)}
    executable.close()
    return found


def checked(program: Graph) -> Executable:
    from alexdsl_cuda.checked import CheckedExecutable

    return CheckedExecutable(program, dict.fromkeys(program.attrs["devices"], "emu:checked"))


def test_a_sound_program_computes_what_it_does_on_the_emulator(program: Graph) -> None:
    found = run(program, checked(program))
    expected = run(program, CudaBackend(registry()).load(program, dict.fromkeys(program.attrs["devices"], "emu")))
    assert len(found) >= 6
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def changed(program: Graph, kind: str, change: Callable[[tuple[Launch, ...]], tuple[Launch, ...]]) -> Graph:
    """The program with other launches of the ops of a kind."""
    ops = [replace(op, launches=change(op.launches)) if op.kind == kind else op for op in program]
    assert ops != list(program.ops)
    return program.with_ops(ops)


def without_barriers(program: Graph) -> Graph:
    sources = {
        name: source.replace("cuda.syncthreads()", "pass") if name.startswith("lrn_maxpool") else source
        for name, source in program.kernels.items()
    }
    assert sources != program.kernels
    return replace(program, kernels=sources)


def without_first(program: Graph) -> Graph:
    """What the second launch of the loss reads, the first does not write."""
    return changed(program, "softmax_cross_entropy", lambda launches: launches[1:])


def too_many(program: Graph) -> Graph:
    """More threads work on the values than these have elements."""

    def more(launches: tuple[Launch, ...]) -> tuple[Launch, ...]:
        (launch,) = launches
        *others, _, weight, velocity, small = launch.args
        return (replace(launch, args=(*others, small, weight, velocity, small)),)

    return changed(program, "sgd", more)


def stale(program: Graph) -> Graph:
    """The loss's gradient is read before it is made, in memory in which there may be something else."""
    made = next(op.name for op in program if op.kind == "softmax_cross_entropy_grad")
    scores = next(op.name for op in program if op.kind == "linear")

    def other(launches: tuple[Launch, ...]) -> tuple[Launch, ...]:
        return tuple(replace(x, args=tuple(f"%{made}" if a == f"%{scores}" else a for a in x.args)) for x in launches)

    return changed(program, "softmax_cross_entropy", other)


BROKEN: dict[str, tuple[Callable[[Graph], Graph], str]] = {
    "no barriers": (without_barriers, r"pooled.*lrn_maxpool_\w+, .*race: .*PTX line \d+ .*thread \d+: .*0x"),
    "an unwritten workspace": (without_first, r"loss.*mean_of_\w+, .*unwritten: .*'workspace'.*address 0x"),
    "beyond a value": (too_many, r"scores.*sgd_\w+, .*outside: .*thread \d+: .*%scores\.\w+.*address 0x"),
    "a value of another time": (stale, r"loss.*losses_\w+, .*unwritten: .*thread \d+: .*address 0x"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_told(name: str, program: Graph) -> None:
    broken, message = BROKEN[name]
    wrong = broken(program)
    with pytest.raises(Fault) as raised:
        run(wrong, checked(wrong))
    assert re.search(message, str(raised.value), re.DOTALL), raised.value


def test_what_was_never_written_is_not_read_by_the_host() -> None:
    from alexdsl_cuda.checked import Checked

    driver = Checked()
    address, array = driver.allocate("emu:checked", 64), np.arange(4, dtype=np.float32)
    driver.upload(None, ("emu:checked", address), array)
    driver.download(None, np.zeros_like(array), ("emu:checked", address))
    driver.copy(None, ("emu:checked", address + 32), ("emu:checked", address + 8), 16)
    with pytest.raises(Fault, match="8 of the 16 bytes that are read were never written"):
        driver.download(None, np.zeros_like(array), ("emu:checked", address + 32))


def test_arguments_in_one_place_are_one_value() -> None:
    from alexdsl_cuda.checked import _disjoint

    spans = [Span(0, "F1", 4), Span(32, "F1", 2), Span(8, "F1", 4), Span(0, "F1", 4), Span(64, "F1", 0)]
    assert _disjoint([(s.address, 4 * s.count) for s in spans]) == [(0, 24), (32, 8)]
