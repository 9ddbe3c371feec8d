"""``alexdsl bench``: every layer is there in each phase, and the parts make up the whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alexdsl.cli import main

LENET = str(Path(__file__).parents[2] / "specs" / "lenet5.net")


def test_the_lines_make_up_the_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", LENET, "--device", "cpu", "--set", "data.batch=8", "--rounds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    phases = {(line["layer"], line["phase"]) for line in found["lines"]}
    for layer in ("c1", "c3", "c5", "f6", "out"):
        assert {(layer, "forward"), (layer, "backward")} <= phases
    # All of LeNet's parameters are small, and updated together.
    assert ("sgd", "update") in phases
    assert sum(line["share"] for line in found["lines"]) == pytest.approx(1)
    assert sum(line["milliseconds"] for line in found["lines"]) == pytest.approx(found["milliseconds"])
    assert all(line["milliseconds"] > 0 and line["floor"] > 0 for line in found["lines"])
    conv = next(line for line in found["lines"] if (line["layer"], line["phase"]) == ("c3", "forward"))
    work = 8 * 16 * 10 * 10 * 6 * 25
    assert conv["gflops"] * conv["milliseconds"] == pytest.approx(2e-6 * work)


def test_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", LENET, "--device", "cpu", "--mode", "predict", "--rounds", "1"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("layer")
    assert "floors by" in text
    assert "backward" not in text


def test_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", LENET, "--rounds", "0"]) == 2
    assert "--rounds expects" in capsys.readouterr().err
    assert main(["bench", LENET, "--device", "tpu"]) == 2
    assert "there is no device 'tpu'" in capsys.readouterr().err
