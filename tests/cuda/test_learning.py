"""A net learns in bf16 what it learns in fp32: the same loss but for rounding, step after step."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from alexdsl.language import Source
from alexdsl.program import compile
from alexdsl.spec import from_source

NET = """
net learner
default conv, linear { weight = xavier, bias = 0 }
input image [8, 8, 8]
maps = conv(16, kernel=3, pad=1) | tanh
out  = linear(8)
loss = softmax_cross_entropy(out, label)
solver sgd { lr = 0.05, momentum = 0.9, epochs = 1, precision = PRECISION }
"""
BATCH, STEPS = 32, 25


def losses(backend: str, device: str, precision: str) -> list[float]:
    """Of steps on new images, each labelled with its brightest channel."""
    random = np.random.default_rng(5)
    spec = from_source(Source("learner.net", NET.replace("PRECISION", precision)))
    program = compile(spec, backend, batch=BATCH, device=device, threads=2)
    found = []
    for _ in range(STEPS):
        images = random.normal(size=(BATCH, 8, 8, 8)).astype(np.float32)
        labels = random.integers(0, 8, BATCH)
        images[np.arange(BATCH), labels] += 1
        found.append(program.step(images, labels)["loss"])
    program.close()
    return found


@pytest.mark.skipif(find_spec("numba_cuda") is None, reason="needs numba-cuda to compile: pip install alexdsl[cuda]")
def test_a_net_learns_in_bf16_as_in_fp32() -> None:
    exact, rounded = losses("cpu", "cpu", "fp32"), losses("cuda", "emu", "bf16")
    assert np.mean(exact[-5:]) < 0.3 * exact[0], exact
    np.testing.assert_allclose(rounded, exact, atol=0.02)
    assert np.max(np.abs(np.subtract(rounded, exact))) > 1e-5, "nothing was computed in bf16"
