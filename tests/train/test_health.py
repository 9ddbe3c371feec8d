"""The health of runs: planted illnesses are named with layer and line, healthy nets are left in peace, and looking
changes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

import pytest

from alexdsl import compile
from alexdsl.cli import main
from alexdsl.spec import load
from alexdsl.train import health

SPECS = Path(__file__).parents[2] / "specs"
NET = """net patient
data clothes {
    source   = sample("fashion")
    channels = 1
    resize   = exact([32, 32])
    scale    = 1 / 128
    batch    = 64
}
default conv, linear { weight = he, bias = 0 }
input image [1, 32, 32]
conv1 = conv(16, kernel=5) | relu | maxpool(2)
conv2 = conv(32, kernel=5) | relu | maxpool(2)
fc3   = linear(128)        | relu
fc4   = linear(128)        | relu
out   = linear(data.classes)
loss  = softmax_cross_entropy(out, label)
report top1(out)
solver sgd { lr = 0.01, epochs = 1 }
"""
LINES = {name: number for number, line in enumerate(NET.splitlines(), 1) for name in [line.split(" ")[0]]}
FIRST = 50


def healthy_or_not(tmp_path: Path, text: str | Path, *more: str, code: int = 0) -> list[dict[str, Any]]:
    """The verdicts of a run's first steps."""
    path = text if isinstance(text, Path) else tmp_path / "patient.net"
    if isinstance(text, str):
        path.write_text(text)
    words = ["run", str(path), "--steps", str(FIRST), "--set", "data.val=split(1%)", "--out", str(tmp_path / "run")]
    assert main([*words, *more]) == code
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "health" in line]


def test_a_healthy_net_is_left_in_peace(tmp_path: Path) -> None:
    assert healthy_or_not(tmp_path, NET) == []
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    changes = {line["step"]: line for line in lines if "update.conv1" in line}
    assert list(changes) == [step for step in health.WATCHED if step <= FIRST]
    for line in changes.values():
        found = {name: value for name, value in line.items() if name.startswith("update.")}
        assert list(found) == [f"update.{name}" for name in ("conv1", "conv2", "fc3", "fc4", "out")]
        assert all(0 < value < 1 for value in found.values())


@pytest.mark.parametrize("name", ["lenet5", "cifar-quick"])
def test_small_specs_are_healthy(name: str, tmp_path: Path) -> None:
    assert healthy_or_not(tmp_path, SPECS / f"{name}.net") == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "alexnet-1tower", "resnet-18", "vgg-a"])
def test_large_specs_are_healthy(name: str, tmp_path: Path) -> None:
    assert healthy_or_not(tmp_path, SPECS / f"{name}.net") == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet-paper", "caffenet"])
def test_recipes_for_imagenet_on_a_small_set(name: str, tmp_path: Path) -> None:
    """What these recipes do to the sample is no false alarm: their loss leaps up, and then sits on ln(10)."""
    verdicts = healthy_or_not(tmp_path, SPECS / f"{name}.net")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert max(losses) > 4 * losses[0]
    assert all(abs(loss - log(10)) < 0.15 for loss in losses[-10:])
    assert {verdict["health"] for verdict in verdicts} <= {"dead", "flat", "fast", "exploding"}
    assert "dead" in {verdict["health"] for verdict in verdicts}


ILLNESSES: dict[str, tuple[Sequence[tuple[str, str]], str, Sequence[str]]] = {
    "biases that keep the loss flat": (
        [("{ weight = he, bias = 0 }", "{ weight = normal(0.001), bias = 1 }")], "flat", ["conv1", "conv2", "fc3"],
    ),
    "the rate times 100": ([("lr = 0.01", "lr = 1")], "fast", ["conv1", "conv2", "fc3", "fc4", "out"]),
    "an all-zero layer": ([("linear(128)        | relu\nfc4", "linear(128, weight=0) | relu\nfc4")], "alike", ["fc3"]),
    "inputs that are not centred": ([("scale    = 1 / 128", "scale = 1 / 128, mean = none")], "inputs", ["image"]),
    "dead relus": ([("linear(128)        | relu\nfc4", "linear(128, bias=-40) | relu\nfc4")], "dead", ["fc3"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ILLNESSES)
def test_a_planted_illness_is_named(name: str, tmp_path: Path) -> None:
    changes, kind, layers = ILLNESSES[name]
    text = NET
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    verdicts = healthy_or_not(tmp_path, text)
    found = next(v for v in verdicts if v["health"] == kind)
    assert found["layer"] in layers
    line = LINES["input" if found["layer"] == "image" else found["layer"]]
    assert found["place"].split(":")[-2] == str(line)
    assert found["step"] <= FIRST
    assert found["helps"]


def test_constant_labels_are_named(tmp_path: Path) -> None:
    import numpy as np

    images = np.random.default_rng(0).integers(0, 255, (200, 32, 32), np.uint8)
    labels = np.zeros(200, np.int64)
    np.savez(tmp_path / "one.npz", train_images=images, train_labels=labels, classes=np.array(["a", "b"]))
    text = NET.replace('sample("fashion")', f'npz("{tmp_path / "one.npz"}")')
    verdicts = healthy_or_not(tmp_path, text)
    found = next(v for v in verdicts if v["health"] == "labels")
    assert "the label of all" in found["seen"]
    assert found["place"].split(":")[-2] == str(LINES["loss"])


def test_where_the_first_broken_number_came_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = healthy_or_not(tmp_path, NET, "--set", "solver.lr=1e30", code=1)
    assert [v["health"] for v in verdicts] == ["fast"]
    message = capsys.readouterr().err
    assert "training has diverged" in message
    assert "The first number that is none came in step 2 from conv" in message
    assert f"patient.net:{LINES['conv1']}" in message or f"patient.net:{LINES['conv2']}" in message
    assert "forward" in message


def test_a_leap_of_the_loss_is_looked_into() -> None:
    program = compile(load(SPECS / "lenet5.net"), batch=4)
    program.use("train")
    patient = health.Health(program)
    assert patient.after(30, 2.3, None) == []
    assert patient.watch(31) is None
    assert patient.after(31, 60.0, None) == []
    watch = patient.watch(32)
    assert watch is not None
    (verdict,) = patient.after(32, 100.0, watch.done())
    assert verdict.kind == "exploding"
    assert verdict.layer == "c1"
    assert patient.watch(33) is None
    program.close()


def test_strict_health_stops_and_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = healthy_or_not(tmp_path, NET.replace("lr = 0.01", "lr = 1"), "--strict-health", code=1)
    assert [v["step"] for v in verdicts] == [1]
    assert "--strict-health" in capsys.readouterr().err
    assert (tmp_path / "run" / "checkpoints" / "step-00000001" / "state.json").exists()


def test_looking_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def weights(name: str) -> bytes:
        folder = tmp_path / name
        words = ["run", "specs/lenet5.net", "--steps", "12", "--set", "data.val=split(1%)", "--out", str(folder)]
        assert main(words) == 0
        return (folder / "checkpoints" / "step-00000012" / "weights.safetensors").read_bytes()

    looked = weights("looked")
    monkeypatch.setattr(health, "WATCHED", ())
    unseen = weights("unseen")
    monkeypatch.setattr(health, "WATCHED", range(13))
    assert looked == unseen == weights("always")


def test_a_verdict_is_given_once_even_by_a_run_that_goes_on(tmp_path: Path) -> None:
    text = NET.replace("scale    = 1 / 128", "scale = 1 / 128, mean = none")
    assert [v["health"] for v in healthy_or_not(tmp_path, text)] == ["inputs"]
    assert main(["run", "--resume", str(tmp_path / "run"), "--steps", "500"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert sum("health" in line for line in lines) == 1
