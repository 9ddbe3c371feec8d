"""``alexdsl runs``: runs are listed with what they reached, and two are compared by meaning and by results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from alexdsl.cli import main

SPEC = "specs/lenet5.net"
SHORT = ("--steps", "6", "--set", "data.val=split(1%)", "--set", "solver.validate=3")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short runs that differ in their rate."""
    folder = tmp_path_factory.mktemp("base")
    assert main(["run", SPEC, *SHORT, "--out", str(folder / "slow"), "--set", "solver.lr=0.01"]) == 0
    assert main(["run", SPEC, *SHORT, "--out", str(folder / "usual")]) == 0
    return folder


def test_runs_are_listed(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(base)]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "spec", "steps", "loss", "best", "validation", "written"]
    assert [Path(row.split()[0]).name for row in rows] == ["slow", "usual"]
    assert all("lenet5.net" in row and " 6 " in row and "top1" in row for row in rows)


def test_the_figures_are_those_of_the_metrics(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(base), "--json"]) == 0
    for found in json.loads(capsys.readouterr().out):
        lines = [json.loads(line) for line in (Path(found["run"]) / "metrics.jsonl").read_text().splitlines()]
        losses = [line["loss"] for line in lines if "loss" in line]
        assert found["loss"] == pytest.approx(sum(losses) / len(losses))
        validations = {line["step"]: line["val.top1"] for line in lines if "val.top1" in line}
        assert sorted(validations) == [3, 6]
        assert found["best"]["top1"][0] == max(validations.values())
        assert found["best"]["loss"][0] == min(line["val.loss"] for line in lines if "val.loss" in line)


def test_two_runs_are_compared(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(base / "slow"), str(base / "usual")]) == 1
    shown = capsys.readouterr().out
    assert "learning rate of weights" in shown
    assert "A 0.01   B 0.05" in shown
    assert "best val.top1" in shown.split("results")[1]
    assert main(["runs", str(base / "slow"), str(base / "slow")]) == 0
    assert "The same in meaning" in capsys.readouterr().out


def test_a_run_that_is_broken_is_named_and_the_others_are_listed(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(base, tmp_path / "runs")
    (tmp_path / "runs" / "slow" / "run.json").write_text("{")
    with (tmp_path / "runs" / "usual" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "loss": 0.1')  # cut short by a kill
    assert main(["runs", str(tmp_path / "runs")]) == 0
    shown = capsys.readouterr().out
    assert "not listed:" in shown
    assert "slow/run.json cannot be read" in shown
    assert " 6 " in next(line for line in shown.splitlines() if "usual" in line)


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(tmp_path / "nowhere")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert main(["runs", str(tmp_path), str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    assert main(["runs"] + [str(tmp_path)] * 3) == 2
    assert main(["runs", str(tmp_path)]) == 0
    assert "there are no runs" in capsys.readouterr().out
