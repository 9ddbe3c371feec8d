"""Crafted specs, checkpoints and run folders: they run no code, take no unbounded memory, and are answered with a
sentence."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexdsl.cli import main

HEAD = """\
data d { source = sample("fashion"), crop = 28, batch = 4, channels = 1 }
input image [1, 28, 28]
"""
TAIL = """
scores = flatten | linear(data.classes)
loss = softmax_cross_entropy(scores, label)
solver sgd { lr = 0.01, steps = 1 }
"""
MEMORY = 2 << 30
"""Bytes of addresses that a command gets; an honest check of lenet5 takes a quarter of it."""


def limited(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command that has little memory and a minute."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    command = [sys.executable, "-m", "alexdsl.cli", *words]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, preexec_fn=limit, timeout=60)


SPECS = {
    "a layer of 10^12": (HEAD + "a = linear(1000000000000)" + TAIL, "is out of range"),
    "weights of 4 EB": (HEAD + "a = linear(1000000000)\nb = linear(1000000000)" + TAIL, "TiB of memory"),
    "weights of 31 GB": (HEAD + "a = linear(10000000)" + TAIL, "the run needs"),
    "a batch of 10^9": (HEAD.replace("batch = 4", "batch = 1000000000") + TAIL, "data.batch"),
    "rounds in rounds": (HEAD + "a = repeat 1000 { repeat 1000 { repeat 1000 { relu } } }" + TAIL, "100,000 steps"),
    "defs of defs": (
        HEAD + "def d0() { relu }\n" + "".join(f"def d{i}() {{ d{i - 1} | d{i - 1} }}\n" for i in range(1, 40))
        + "a = d39" + TAIL, "100,000 steps",
    ),
    "squares of squares": (
        "const a0 = 10\n" + "".join(f"const a{i} = a{i - 1} * a{i - 1}\n" for i in range(1, 40)) + HEAD + TAIL,
        "too large a number",
    ),
    "joins of joins": (
        HEAD + "a0 = relu\n" + "\n".join(f"a{i} = concat(a{i - 1}, a{i - 1})" for i in range(1, 60)) + TAIL,
        "TiB of memory",
    ),
    "a window of 10^9": (HEAD + "a = conv(4, kernel=1000000001, pad=1000000000)" + TAIL, "TiB of memory"),
    "slices of 10^9": (HEAD + TAIL.replace("steps = 1", "steps = 1, slices = 1000000000"), "does not divide"),
    "a number of 10^5 digits": (HEAD + f"a = linear({'9' * 100_000})" + TAIL, "too large"),
    "a name of 10^5 letters": (f"net {'a' * 100_000}\n" + HEAD + TAIL, "letters"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPECS)
def test_a_crafted_spec(name: str, tmp_path: Path) -> None:
    text, said = SPECS[name]
    (tmp_path / "crafted.net").write_text(text)
    done = limited("run", "crafted.net", "--device", "cpu", folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_spec_without_an_end(tmp_path: Path) -> None:
    done = limited("check", "/dev/zero", folder=tmp_path)
    assert done.returncode == 2
    assert "too large for a spec" in done.stderr


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step, and a picture beside it."""
    folder = tmp_path_factory.mktemp("crafted")
    words = ["--steps", "1", "--set", "data.batch=8", "--set", "data.val=split(0.2%)", "--device", "cpu"]
    spec = Path(__file__).parents[1] / "specs" / "lenet5.net"
    assert main(["run", str(spec), "--out", str(folder / "run"), *words]) == 0
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(folder / "image.png")
    return folder


CHANGES: dict[str, object] = {
    "step": 10**18, "spec": 3, "overrides": {"data.batch": 8}, "seed": "x", "net": [], "classes": "ab",
    "validations": [{"step": "x"}], "due": 1, "about": {"versions": 3}, "more": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_crafted_state(name: str, honest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(honest / "run", tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "step-00000001" / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: CHANGES[name]}))
    for words in (["predict", str(honest / "image.png"), "--run"], ["eval"], ["run", "--steps", "2", "--resume"]):
        assert main([*words, str(tmp_path / "run")]) == 2
        assert "is not a checkpoint that can be read" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["seed", "overrides", "devices", "strategies", "save_every", "keep"])
def test_a_crafted_run(name: str, honest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(honest / "run", tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: [1]}))
    assert main(["run", "--resume", str(tmp_path / "run")]) == 2
    assert "run.json" in capsys.readouterr().err


def claimed(size: int) -> bytes:
    """A file of arrays that says of one that it has so many bytes."""
    header = json.dumps({"c1.weight": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header


GIANT = 1 << 40
FILES: dict[str, Callable[[Path], object]] = {
    "nested.json": lambda path: (path / "state.json").write_text("[" * 1_000_000),
    "giant.json": lambda path: os.truncate(path / "state.json", GIANT),
    "a header of 10^18 bytes": lambda path: (path / "weights.safetensors").write_bytes((10**18).to_bytes(8, "little")),
    "an array that is not there": lambda path: (path / "weights.safetensors").write_bytes(claimed(GIANT)),
    "a file behind its arrays": lambda path: os.truncate(path / "weights.safetensors", GIANT),
    "statistics of 1 GB": lambda path: (
        (path / "data.safetensors").write_bytes(claimed(1 << 30)),
        os.truncate(path / "data.safetensors", (1 << 30) + len(claimed(1 << 30))),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_crafted_file(name: str, honest: Path, tmp_path: Path) -> None:
    shutil.copytree(honest / "run", tmp_path / "run")
    FILES[name](tmp_path / "run" / "checkpoints" / "step-00000001")
    done = limited("predict", str(honest / "image.png"), "--run", "run", folder=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "step-00000001" in done.stderr
