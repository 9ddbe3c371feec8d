"""Strategies chosen by measuring: taken where they are clearly faster, part of the program and of its run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import alexdsl
from alexdsl.cli import main
from alexdsl.program import Program
from alexdsl.tuning import Tuned

SPEC = """
data d { source = sample("fashion"), batch = 16, channels = 1 }
input image [1, 28, 28]
conv1 = conv(16, kernel=3, pad=1) | relu
fc2   = linear(80) | relu
fc3   = linear(10)
loss  = softmax_cross_entropy(fc3)
report top1(fc3)
solver sgd { lr = 0.1, steps = 4 }
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "small.net"
    path.write_text(SPEC)
    return path


def strategies(program: Program) -> dict[str, str]:
    return {op.name: op.attrs["strategy"] for op in program.graph("train") if "strategy" in op.attrs}


def step(program: Program) -> np.ndarray:
    random = np.random.default_rng(0)
    program.step(random.standard_normal((16, 1, 28, 28), np.float32), random.integers(0, 10, 16))
    weights = program.weights["fc2.weight"]
    program.close()
    return weights


def test_another_strategy_is_taken_where_it_is_clearly_faster() -> None:
    assert Tuned(["a"], "a", "conv", {"im2col": 1.0, "winograd4": 0.9}).chosen == "winograd4"
    assert Tuned(["a"], "a", "conv", {"im2col": 1.0, "winograd4": 0.99}).chosen == "im2col"
    assert Tuned(["a"], "a", "conv", {"im2col": 1.0, "winograd4": 1.2}).chosen == "im2col"


def test_what_is_tuned_is_in_the_program_and_computes_the_same(spec: Path) -> None:
    loaded = alexdsl.load(spec)
    default, tuned = alexdsl.compile(loaded), alexdsl.compile(loaded)
    found, sorts = tuned.tune(60)
    assert len(found) == sorts >= 3
    assert all(len(one.seconds) > 1 and min(one.seconds.values()) > 0 for one in found)
    chosen = {name: one.chosen for one in found for name in one.names}
    assert strategies(tuned) == strategies(default) | chosen
    again = alexdsl.compile(loaded, strategies=tuned.strategies)
    weights = step(tuned)
    np.testing.assert_array_equal(step(again), weights)
    np.testing.assert_allclose(step(default), weights, rtol=1e-3, atol=1e-6)


def test_a_choice_that_is_given_is_taken(spec: Path) -> None:
    loaded = alexdsl.load(spec)
    default = strategies(alexdsl.compile(loaded))
    name = next(name for name, strategy in default.items() if "fc2" in name and strategy in ("blas", "dots"))
    other = {"blas": "dots", "dots": "blas"}[default[name]]
    assert strategies(alexdsl.compile(loaded, strategies={name: other})) == default | {name: other}


def test_time_that_is_up(spec: Path) -> None:
    found, sorts = alexdsl.compile(alexdsl.load(spec)).tune(1e-9)
    assert (found, sorts >= 3) == ([], True)


def test_a_run_records_its_choices_and_keeps_them(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert main(["run", str(spec), "--tune", "60", "--out", str(folder)]) == 0
    facts = json.loads((folder / "run.json").read_text())
    assert facts["strategies"]
    text = (folder / "program.ir").read_text()
    assert all(f"strategy={name}" in text for name in facts["strategies"].values())
    assert "tuned" in capsys.readouterr().out
    assert main(["run", "--resume", str(folder), "--steps", "6"]) == 0
    assert main(["run", "--resume", str(folder), "--tune"]) == 2
    assert "keeps the strategies" in capsys.readouterr().err


def test_time_means_nothing_in_an_emulator(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(spec), "--device", "emu", "--tune"]) == 2
    assert "emu runs kernels without the hardware" in capsys.readouterr().err
