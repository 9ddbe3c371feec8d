"""The miniature of two towers on the emulator and in the simulator computes what it computes on the CPU backend."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from alexdsl.language import Source
from alexdsl.program import compile
from alexdsl.spec import from_source
from tests.cuda.two_towers import NET, TOY, assert_same, trained

needs_compiler = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="needs numba-cuda to compile kernels: pip install alexdsl[cuda]"
)
SIMULATE = """
from tests.cuda.two_towers import TOY, assert_same, trained
assert_same(trained("cuda", "sim", 1, TOY), trained("cpu", "cpu", 1, TOY))
"""


@needs_compiler
def test_the_emulator_agrees_with_the_cpu() -> None:
    assert_same(trained("cuda", "emu", 3), trained("cpu", "cpu", 3))


@needs_compiler
def test_a_batch_in_slices_on_the_emulator() -> None:
    net = TOY.replace("epochs = 1", "epochs = 1, slices = 2")
    assert_same(trained("cuda", "emu", 2, net), trained("cpu", "cpu", 2, TOY))


@needs_compiler
def test_gradients_in_bf16_are_those_of_fp32_but_for_rounding() -> None:
    """Of a net without kinks: where a pool or a relu chooses otherwise, a rounding becomes a jump."""
    smooth = re.sub(r"\| maxpool\([^)]*\)", "", NET).replace("| relu ", "| tanh ")
    smooth = smooth.replace("linear(20,", "linear(24,").replace("linear(12,", "linear(16,")
    random = np.random.default_rng(7)
    images, labels = random.normal(size=(4, 3, 35, 35)).astype(np.float32), random.integers(0, 10, 4)
    found = []
    for backend, device, precision in (("cpu", "cpu", "fp32"), ("cuda", "emu", "bf16")):
        spec = from_source(Source("smooth.net", smooth.replace("epochs = 1", f"epochs = 1, precision = {precision}")))
        program = compile(spec, backend, device=device, threads=2)
        found.append(program.gradients(images, labels)[1])
        program.close()
    exact, rounded = found
    errors = {name: np.linalg.norm(rounded[name] - g) / np.linalg.norm(g) for name, g in exact.items()}
    assert max(errors.values()) < 0.01, errors
    assert errors["fc7.weight"] > 1e-4, "nothing was computed in bf16"


def test_one_step_in_the_simulator() -> None:
    # Numba has to be told before it is imported, so in a process of its own.
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    command, root = [sys.executable, "-W", "ignore", "-c", SIMULATE], Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
