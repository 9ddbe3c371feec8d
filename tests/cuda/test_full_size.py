"""A full-size training step of AlexNet from the kernels' real PTX, against the CPU backend's."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from alexdsl.program import compile
from alexdsl.spec import load

ALEXNET = Path(__file__).parents[2] / "specs" / "alexnet.net"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("numba_cuda") is None, reason="needs numba-cuda: pip install alexdsl[cuda]")
def test_every_weight_is_updated_as_on_the_cpu() -> None:
    random = np.random.default_rng(11)
    images = random.normal(size=(2, 3, 227, 227)).astype(np.float32)
    labels = random.integers(0, 10, 2)
    spec = load(ALEXNET, set={"data.batch": "2"})
    updates = []
    for backend, device in (("cpu", "cpu"), ("cuda", "emu")):
        program = compile(spec, backend, device=device)
        before = dict(program.weights)
        program.step(images, labels)
        updates.append({name: program.weights[name].astype(np.float64) - array for name, array in before.items()})
        program.close()
    ours, theirs = updates
    for name, expected in ours.items():
        error = np.linalg.norm(theirs[name] - expected) / np.linalg.norm(expected)
        assert error <= 1e-4, f"{name}: {error:.2g}"
