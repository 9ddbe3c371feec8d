"""Tests that need a GPU, on a stand-in for its driver: NVIDIA's own bindings pass every call on, and the emulator runs
the kernels. Arguments, contexts and grids that the driver would refuse, the stand-in refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cuda.bindings.driver", reason="needs NVIDIA's bindings: pip install alexdsl[cuda]")

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).parent / "fake_driver" / "driver.c"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stand-in, compiled."""
    folder = tmp_path_factory.mktemp("driver")
    made = str(folder / "libcuda.so.1")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", made, str(SOURCE), "-ldl"], check=True)
    return folder


@pytest.mark.parametrize("gpus", [1, 2])
def test_what_needs_a_gpu_passes_on_a_stand_in(library: Path, gpus: int) -> None:
    known = {**os.environ, "LD_LIBRARY_PATH": str(library), "FAKE_GPUS": str(gpus)}
    chosen = ["-m", "gpu", "tests/cuda/test_gpu_run.py", "-k", "relu or two_towers"]
    plugin = ["-p", "tests.cuda.fake_driver.plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, *chosen], cwd=ROOT, env=known, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
