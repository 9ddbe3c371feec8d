"""The miniature of two towers on the emulator and in the simulator computes what it computes on the CPU backend."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cuda.two_towers import NET, assert_same, trained

needs_compiler = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="needs numba-cuda to compile kernels: pip install alexdsl[cuda]"
)
SIMULATE = """
from tests.cuda.two_towers import assert_same, trained
assert_same(trained("cuda", "sim", 1), trained("cpu", "cpu", 1))
"""


@needs_compiler
def test_the_emulator_agrees_with_the_cpu() -> None:
    assert_same(trained("cuda", "emu", 3), trained("cpu", "cpu", 3))


@needs_compiler
def test_a_batch_in_slices_on_the_emulator() -> None:
    net = NET.replace("epochs = 1", "epochs = 1, slices = 2")
    assert_same(trained("cuda", "emu", 2, net), trained("cpu", "cpu", 2))


def test_one_step_in_the_simulator() -> None:
    # Numba has to be told before it is imported, so in a process of its own.
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-W", "ignore", "-c", SIMULATE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
