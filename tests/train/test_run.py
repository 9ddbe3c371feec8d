"""Whole runs of a small net: learning, resuming bit for bit, being stopped and killed, and determinism."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alexdsl.cli import main

SPEC = "specs/lenet5.net"
WEIGHTS = "weights.safetensors"


def run(*args: str) -> int:
    return main(["run", *args])


def weights(folder: Path, step: int) -> bytes:
    return (folder / "checkpoints" / f"step-{step:08}" / WEIGHTS).read_bytes()


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def metrics(folder: Path) -> list[dict[str, float]]:
    """The metrics without what a clock says."""
    return [{name: value for name, value in line.items() if name != "val.seconds"} for line in lines(folder)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 140 steps that nothing happened to; it validates after 125."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert run(SPEC, "--steps", "140", "--out", str(folder), "--save-every", "20") == 0
    return folder


def test_the_run_learns_and_leaves_what_it_should(undisturbed: Path) -> None:
    validations = [line["val.top1"] for line in lines(undisturbed) if "val.top1" in line]
    assert validations[-1] > 0.7
    assert {path.name for path in undisturbed.iterdir()} - {"events"} == {
        "spec.net", "run.json", "program.ir", "metrics.jsonl", "checkpoints", "filters.png",
        "curves.png",
    }  # fmt: skip
    assert [line["step"] for line in lines(undisturbed) if "loss" in line] == list(range(1, 141))


def test_a_resumed_run_is_the_same_run(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    assert run(SPEC, "--steps", "60", "--out", str(folder)) == 0
    assert run("--resume", str(folder), "--steps", "140") == 0
    assert weights(folder, 140) == weights(undisturbed, 140)
    assert run("--resume", str(folder)) == 0  # nothing is left to do


@pytest.mark.parametrize("threads", ["1", "3"])
def test_the_number_of_threads_changes_nothing(
    undisturbed: Path, tmp_path: Path, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALEXDSL_THREADS", threads)
    assert run(SPEC, "--steps", "140", "--out", str(tmp_path / "run")) == 0
    assert weights(tmp_path / "run", 140) == weights(undisturbed, 140)


def test_the_rate_rises_then_falls(tmp_path: Path) -> None:
    assert not run(
        SPEC, "--steps", "8", "--set", "solver.warmup=4", "--set", "solver.schedule=cosine(floor = 0.5)", "--out",
        str(tmp_path / "a"),
    )  # fmt: skip
    rates = [line["rate"] for line in lines(tmp_path / "a") if "rate" in line]
    falling = [0.75 + 0.25 * math.cos(math.pi * step / 8) for step in range(8)]
    assert rates == pytest.approx([min(1, (step + 1) / 4) * falling[step] for step in range(8)])


def test_ten_crop_is_recorded_and_leaves_training_as_it_is(tmp_path: Path) -> None:
    cropped = ["--set", "data.resize=exact([36, 36])", "--set", "data.crop=32"]
    for name, more in [("centre", []), ("ten", ["--set", "data.test=ten_crop"])]:
        assert run(SPEC, "--steps", "2", "--out", str(tmp_path / name), *cropped, *more) == 0
    assert weights(tmp_path / "centre", 2) == weights(tmp_path / "ten", 2)
    assert metrics(tmp_path / "centre") == metrics(tmp_path / "ten")
    for file in (tmp_path / "ten" / "run.json", tmp_path / "ten" / "checkpoints" / "step-00000002" / "state.json"):
        assert json.loads(file.read_text())["overrides"]["data.test"] == "ten_crop"


def start(*args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "alexdsl.cli", "run", *args]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def wait_for_step(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until the metrics hold this step."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        metrics = folder / "metrics.jsonl"
        if metrics.exists() and metrics.read_text().count("\n") >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"the run did not come to step {step}: {process.stdout.read() if process.stdout else ''}")


@pytest.mark.parametrize("step", [1, 33, 100])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(undisturbed: Path, tmp_path: Path, step: int) -> None:
    folder = tmp_path / "killed"
    with start(SPEC, "--steps", "140", "--out", str(folder), "--save-every", "20") as process:
        wait_for_step(folder, step, process)
        os.killpg(process.pid, signal.SIGKILL)
    assert run("--resume", str(folder)) == 0
    assert weights(folder, 140) == weights(undisturbed, 140)
    assert [line["step"] for line in lines(folder) if "loss" in line] == list(range(1, 141))


def test_ctrl_c_saves_and_says_how_to_go_on(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    with start(SPEC, "--steps", "100000", "--out", str(folder)) as process:
        wait_for_step(folder, 20, process)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert f"alexdsl run --resume {folder}" in output
    assert run("--resume", str(folder), "--steps", "140") == 0
    assert weights(folder, 140) == weights(undisturbed, 140)


def test_bad_input_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--resume", str(tmp_path)) == 2
    assert "holds no run" in capsys.readouterr().err
    assert run(SPEC, "--out", "/proc/nowhere") == 2
    assert "cannot write the run folder" in capsys.readouterr().err
    assert run(SPEC, "--device", "tpu", "--out", str(tmp_path / "a")) == 2
    assert "there is no device 'tpu'" in capsys.readouterr().err
    assert run(SPEC, "--set", "data.batch=2e7", "--out", str(tmp_path / "b")) == 2
    assert "would fit" in capsys.readouterr().err
    assert run(SPEC, "--set", "data.channels=3", "--out", str(tmp_path / "c")) == 2
    assert "input image takes [1, 32, 32], but the data block prepares images of [3, 32, 32]" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_checkpoint_of_another_net_is_told_by_layer(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "changed"
    assert run(SPEC, "--steps", "1", "--out", str(folder)) == 0
    spec = (folder / "spec.net").read_text()
    (folder / "spec.net").write_text(spec.replace("linear(84)", "linear(80)"))
    assert run("--resume", str(folder), "--steps", "2") == 2
    message = capsys.readouterr().err
    assert "f6.weight: [84, 120] in the checkpoint, [80, 120] in the net" in message


def test_a_diverged_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(SPEC, "--steps", "50", "--set", "solver.lr=1e30", "--out", str(tmp_path / "run")) == 1
    assert "diverged" in capsys.readouterr().err
