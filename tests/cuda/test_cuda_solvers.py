"""Steps of every solver, clipped, in the emulator as on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from alexdsl.language import Source
from alexdsl.program import compile
from alexdsl.spec import from_source
from tests.cuda_kernels.cases import NEEDS_NUMBA_CUDA

NET = """
data d {{ source = sample("fashion"), channels = 1, crop = 12, batch = 4 }}
default conv, linear {{ weight = he, bias = 0 }}
input image [1, 12, 12]
c1   = conv(4, kernel=5) | tanh | avgpool(2)
out  = linear(10)
loss = softmax_cross_entropy(out, label)
solver {solver} {{ lr = 0.05, decay = 0.01, clip = 0.5, steps = 3 }}
"""


@NEEDS_NUMBA_CUDA
@pytest.mark.parametrize("solver", ["sgd", "nesterov", "adam"])
def test_the_emulator_trains_as_the_cpu(solver: str) -> None:
    random = np.random.default_rng(0)
    batches = [(random.normal(size=(4, 1, 12, 12)).astype(np.float32), random.integers(0, 10, 4)) for _ in range(3)]
    found = []
    for backend, device in (("cpu", "cpu"), ("cuda", "emu")):
        program = compile(from_source(Source("small.net", NET.format(solver=solver)), seed=1), backend, device=device)
        for images, labels in batches:
            program.step(images, labels)
        found.append({name: array.copy() for name, array in (*program.weights.items(), *program.state.items())})
        program.close()
    on_cpu, emulated = found
    assert len(on_cpu) == 4 * (3 if solver == "adam" else 2)
    for name, array in on_cpu.items():
        np.testing.assert_allclose(emulated[name], array, rtol=1e-4, atol=2e-6, err_msg=name)
