"""The CUDA kernels against the NumPy references in double precision: their real PTX, run by the emulator with every
access looked at, and the kernels as Python in Numba's simulator. No GPU is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from alexdsl_cuda import backend

from alexdsl.ir.types import f32
from alexdsl.passes.gather import AT_ONCE
from tests.backends.chains import CHAINS, Chain, Target, check_updates, close, kinds
from tests.cuda_kernels.cases import NEEDS_NUMBA_CUDA, PRODUCTS, REGISTRY, build, every, often

EMULATOR = Target(backend, "emu")
CASES = every()
SIMULATED = (
    "8x3x4", "maxpool padded", "avgpool_grad gaps", "relu+tanh_grad", "add+relu", "batch_norm_grad 6x8x3x2", "topk-6x5",
    "dropout_grad (2, 5, 3, 7)", "dropout of dropout-3x13", "sgd inside", "join 1", "flatten_grad (2, 40",
    "softmax_cross_entropy_grad of softmax_cross_entropy-4x5",
)  # fmt: skip
"""Parts of the names of cases that go through all that the kernels call."""
FUSED = {name: builder.chain() for name, builder in CHAINS.items() if name.split("+")[0] not in PRODUCTS}
FUSED |= {name.split()[0]: chain for name, (chain, _) in CASES.items() if name.startswith("batch_norm+relu")}


@pytest.mark.parametrize("name", FUSED)
def test_chains_are_one_op(name: str) -> None:
    assert kinds(EMULATOR, FUSED[name]) == [name]


@pytest.mark.parametrize("name", CASES)
def test_sources_are_python(name: str) -> None:
    for kernel, source in CASES[name][0].program(EMULATOR).kernels.items():
        compile(source, kernel, "exec")


@NEEDS_NUMBA_CUDA
@pytest.mark.parametrize("name", [pytest.param(n, marks=() if often(n) else pytest.mark.slow) for n in CASES])
def test_kernels_are_the_references(name: str) -> None:
    from tests.cuda_kernels.checked import run_checked

    chain, arrays = CASES[name]
    program = chain.program(EMULATOR)
    checked = run_checked(program, REGISTRY, arrays)
    expected = chain.reference(arrays)
    for value in program.outputs.values():
        close(checked.values[value], expected[value], 2e-6)
    assert [str(finding) for _, report in checked.reports for finding in report.findings] == []


@NEEDS_NUMBA_CUDA
def test_updates_of_several_parameters_are_those_of_each() -> None:
    check_updates(EMULATOR, 12, 2500, 1024, 4)
    check_updates(EMULATOR, 12, 2500, 7, 1024, 259)
    check_updates(EMULATOR, *[300] * AT_ONCE)


@NEEDS_NUMBA_CUDA
@pytest.mark.parametrize("parts", [SIMULATED, pytest.param((), marks=pytest.mark.slow)], ids=["few", "all"])
def test_kernels_mean_the_same_in_the_simulator(parts: Sequence[str]) -> None:
    """In a process of its own, because Numba decides for its simulator when it is imported."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.cuda_kernels.simulate", *parts], cwd=Path(__file__).parents[2],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == {}


@NEEDS_NUMBA_CUDA
@pytest.mark.parametrize("channels", [6, 8])
def test_not_a_number_stays_one_and_equals_go_to_the_first(channels: int) -> None:
    x = np.zeros((1, channels, 5, 5), np.float32)
    x[0, 2, 1, 1] = np.nan
    maps = f32(*x.shape)
    pool = build(x=maps).layer("maxpool", "x", "z i", kernel=2, stride=2).chain().run(EMULATOR, {"x": x})
    np.testing.assert_array_equal(np.argwhere(np.isnan(pool["z"])), [[0, 2, 0, 0]])
    assert pool["i"][0, 2, 0, 0] == 3
    assert np.count_nonzero(pool["i"]) == 1
    both = build(x=maps).layer("lrn", "x", "y").layer("maxpool", "y", "z i", kernel=2, stride=2).chain()
    assert _not_numbers(both, x, "z") == 5
    norm = build(x=maps).layer("lrn", "x", "y").layer("relu", "y", "z").chain()
    assert _not_numbers(norm, x, "z") == 5
    least = np.full(x.shape, -np.inf, np.float32)
    low = build(x=maps).layer("maxpool", "x", "z i", kernel=3, stride=2, pad=1).chain().run(EMULATOR, {"x": least})
    assert (low["z"] == -np.inf).all()
    np.testing.assert_array_equal(low["i"][0, 0], [[4, 3, 3], [1, 0, 0], [1, 0, 0]])


def _not_numbers(chain: Chain, x: np.ndarray, value: str) -> int:
    return int(np.isnan(chain.run(EMULATOR, {"x": x})[value]).sum())
