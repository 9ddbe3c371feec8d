"""``alexdsl sweep``: it goes on after kills, ends as if undisturbed, tells what diverged, and mixes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alexdsl.cli import main
from tests.train.runs import assert_same

NET = """net small
data clothes {
    source = sample("fashion"), channels = 1, scale = 1 / 64, batch = 16
    val = split(1%)
}
input image [1, 28, 28]
scores = linear(data.classes)
loss = softmax_cross_entropy(scores, label)
report top1(scores)
solver sgd { lr = 0.001, steps = 300, validate = 60 }
"""
SWEEP = """title: rates
spec: small.net
variants:
  slow:
  fast: {set: {solver.lr: 0.003}}
seeds: 2
measures:
  steps to 50 %: {until: error <= 50%, over: 10}
  held out: {last: val.top1}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("small.net").write_text(NET)
    Path("rates.yaml").write_text(SWEEP)
    return tmp_path


def short(*words: str) -> list[str]:
    return ["sweep", "rates.yaml", "--set", "solver.steps=20", "--set", "solver.validate=10", *words]


def figures(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def stopped(number: signal.Signals, folder: Path, lines: int) -> int:
    """Start the sweep and stop its processes when a run has logged so many lines; its exit code."""
    words = [sys.executable, "-m", "alexdsl.cli", "sweep", "rates.yaml", "--seeds", "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    metrics, end = folder / "metrics.jsonl", time.monotonic() + 120
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True, env=environment) as process:
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= lines):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.002)
        os.killpg(process.pid, number)
    return process.returncode


def test_stopped_and_killed_it_goes_on_and_ends_the_same(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweeps = here / "sweeps" / "rates"
    assert stopped(signal.SIGINT, sweeps / "slow-seed0", 70) == 130
    assert figures(sweeps)["variants"]["slow"]["runs"][0]["state"] == "unfinished"
    assert stopped(signal.SIGKILL, sweeps / "fast-seed0", 70) == -signal.SIGKILL
    assert main(["sweep", "rates.yaml", "--seeds", "1", "--report"]) == 0
    states = {name: one["runs"][0]["state"] for name, one in figures(sweeps)["variants"].items()}
    assert states == {"slow": "finished", "fast": "unfinished"}
    assert main(["sweep", "rates.yaml", "--seeds", "1"]) == 0
    assert "1 of 2 runs are over" in capsys.readouterr().out

    assert main(["sweep", "rates.yaml", "--seeds", "1", "--out", "whole"]) == 0
    assert figures(sweeps) == figures(here / "whole")
    assert figures(sweeps)["complete"]
    assert (sweeps / "sweep.png").read_bytes() == (here / "whole" / "sweep.png").read_bytes()
    for name in ("slow-seed0", "fast-seed0"):
        assert_same(sweeps / name, here / "whole" / name)


def test_what_is_over_is_not_done_again_and_more_seeds_are_added(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(short("--only", "fast")) == 0
    assert "slow, seed 0, 1: not begun" in capsys.readouterr().out
    folder = here / "sweeps" / "rates"
    written = (folder / "fast-seed0" / "metrics.jsonl").stat().st_mtime_ns
    assert main(short("--seeds", "3")) == 0
    out = capsys.readouterr().out
    assert "2 of 6 runs are over" in out
    assert (folder / "fast-seed0" / "metrics.jsonl").stat().st_mtime_ns == written
    table = (folder / "results.md").read_text()
    assert "| steps to 50 % | slow | 3 |" in table
    with Image.open(folder / "sweep.png") as picture:
        assert picture.format == "PNG"
    assert len(figures(folder)["variants"]["fast"]["runs"]) == 3


def test_another_spec_or_setting_is_refused_not_mixed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(short("--only", "fast", "--seeds", "1")) == 0
    before = (here / "sweeps/rates/results.json").read_bytes()
    capsys.readouterr()
    Path("rates.yaml").write_text(SWEEP.replace("0.003", "0.004"))
    assert main(short()) == 2
    assert "fast-seed0 was run otherwise than variant 'fast' now says: solver.lr 0.003 there, 0.004 now" in (
        capsys.readouterr().err
    )
    Path("rates.yaml").write_text(SWEEP)
    Path("small.net").write_text(NET.replace("linear(", "linear(units="))
    assert main(short()) == 2
    assert "its spec has another text" in capsys.readouterr().err
    assert not list(here.glob("sweeps/rates/slow*"))
    assert (here / "sweeps/rates/results.json").read_bytes() == before


def test_a_variant_that_diverges_is_told_and_the_others_are_trained(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("rates.yaml").write_text(SWEEP.replace("0.003", "1e38"))
    assert main(short()) == 0
    said = capsys.readouterr()
    assert "training has diverged" in said.err
    assert "diverged (2 of 2)" in said.out
    found = figures(here / "sweeps/rates")["variants"]
    assert [run["state"] for run in found["fast"]["runs"]] == ["diverged"] * 2
    assert [run["state"] for run in found["slow"]["runs"]] == ["finished"] * 2
    assert found["fast"]["measures"]["held out"]["mean"] is None
    assert main(short()) == 0
    assert "4 of 4 runs are over" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("solver.lr", "solver.lrr", "variant 'fast' of rates.yaml:\nerror:"),
        ("spec: small.net", "spec: none.net", "none.net cannot be read"),
        ("val.top1", "val.top5", "measure 'held out' of rates.yaml: variant 'slow' has no metric 'val.top5'"),
        ("seeds: 2", "sedes: 2", "did you mean 'seeds'?"),
    ],
)
def test_mistakes_are_said_before_anything_runs(
    old: str, new: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("rates.yaml").write_text(SWEEP.replace(old, new))
    assert main(["sweep", "rates.yaml"]) == 2
    assert said in capsys.readouterr().err
    assert not (here / "sweeps").exists()


def test_validations_are_not_measured_where_nothing_is_held_out(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("few.npz", train_images=np.zeros((40, 28, 28), np.uint8), train_labels=np.arange(40) % 10)
    Path("small.net").write_text(
        NET.replace('sample("fashion")', 'npz("few.npz")').replace("    val = split(1%)\n", "")
    )
    assert main(["sweep", "rates.yaml"]) == 2
    assert "variant 'slow' has no held-out images" in capsys.readouterr().err
    assert not (here / "sweeps").exists()


def test_wrong_words(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["--seeds", "none"], "--seeds none"),
        (["--only", "fats"], "variants are slow, fast"),
        (["--set", "a"], "expects LEAF=VALUE"),
    ):
        assert main(["sweep", "rates.yaml", *words]) == 2
        assert said in capsys.readouterr().err
    assert main(["sweep", "nosuch"]) == 2
    assert "nosuch cannot be read" in capsys.readouterr().err


def test_a_packaged_experiment_by_its_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "relu-tanh", "--report"]) == 0
    assert "relu, seed 0, 1, 2, 3, 4: not begun" in capsys.readouterr().out
    # The file says steps; epochs stand in their place.
    assert main(["sweep", "relu-tanh", "--report", "--set", "solver.epochs=2"]) == 0
    relu = figures(here / "sweeps/relu-tanh")["variants"]["relu"]
    assert relu["overrides"]["solver.epochs"] == "2"
    assert "solver.steps" not in relu["overrides"]
