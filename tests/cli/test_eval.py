"""``alexdsl eval``: its numbers are those of the images one by one, and its files hold what they say."""

from __future__ import annotations

import csv
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexdsl.cli import main
from alexdsl.train.evaluation import Evaluation, confusion_picture

SPEC = str(Path(__file__).parents[2] / "specs" / "lenet5.net")
HELD_OUT = 157
"""2 % of the sample, rounded; no multiple of the batch."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with pictures of 36 x 36, from which it takes 32 x 32."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    sets = ["data.val=split(1.96%)", "data.resize=exact([36, 36])", "data.crop=32", "data.batch=32"]
    words = [word for one in sets for word in ("--set", one)]
    assert main(["run", SPEC, "--out", str(folder), "--steps", "30", *words]) == 0
    return folder


def evaluated(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main(["eval", *words, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_the_centre_crop_is_what_the_run_validated_on(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    guesses, picture = tmp_path / "guesses.csv", tmp_path / "confusion.png"
    found = evaluated(capsys, str(run), "--csv", str(guesses), "--confusion", str(picture))
    validated = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][-1]
    assert (found["images"], found["views"]) == (HELD_OUT, 1)
    assert found["top1"] == pytest.approx(validated["val.top1"], abs=1e-6)
    rows = list(csv.DictReader(guesses.read_text().splitlines()))
    assert len(rows) == HELD_OUT
    right = [row["label"] == row["guess1"] for row in rows]
    assert np.mean(right) == pytest.approx(found["top1"])
    five = [row["label"] in [row[f"guess{i}"] for i in range(1, 6)] for row in rows]
    assert np.mean(five) == pytest.approx(found["top5"])
    per_class = found["per_class"]
    assert isinstance(per_class, list)
    assert sum(row["images"] for row in per_class) == HELD_OUT
    assert sum(row["images"] * row["top1"] for row in per_class) == pytest.approx(sum(right))
    for row in per_class:
        others = [r["guess1"] for r in rows if r["label"] == row["class"] and r["guess1"] != row["class"]]
        assert row["times"] == max((others.count(other) for other in others), default=0)
        assert row["taken_for"] is None or others.count(row["taken_for"]) == row["times"]
    with Image.open(picture) as drawn:
        assert drawn.size[0] == drawn.size[1] > 10 * 12


def test_ten_crops_are_predicts(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Batches of 32 views end amid an image."""
    guesses = tmp_path / "guesses.csv"
    found = evaluated(capsys, str(run / "checkpoints" / "step-00000030"), "--ten-crop", "--csv", str(guesses))
    centre = evaluated(capsys, str(run))
    asked = evaluated(capsys, str(run), "--set", "data.test=ten_crop", "--device", "cpu")
    assert (found["views"], found["images"]) == (10, HELD_OUT)
    assert asked["per_class"] == found["per_class"] != centre["per_class"]


@pytest.mark.skipif(find_spec("numba_cuda") is None, reason="needs numba-cuda to compile kernels: alexdsl[cuda]")
def test_another_device(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The kernels of a GPU, by the emulator, on few images."""
    few = ["--set", "data.val=split(0.1%)", "--set", "data.batch=8"]
    here, there = (evaluated(capsys, str(run), *few, "--device", device) for device in ("cpu", "emu"))
    assert here["images"] == 8
    assert here["per_class"] == there["per_class"]


def test_the_table(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(run)]) == 0
    first, head, *rows = capsys.readouterr().out.splitlines()[-12:]
    assert f"{HELD_OUT} held-out images, the centre crop: top-1 " in first
    assert head.split() == ["class", "images", "top-1", "top-5", "most", "often", "taken", "for"]
    assert [row.split("  ")[0].strip() for row in rows][:2] == ["T-shirt/top", "Trouser"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "nowhere is neither a checkpoint's folder"),
        (["RUN", "--set", "data.val=folder(\"nowhere\")"], "there is no folder nowhere"),
        (["RUN", "--device", "abacus"], "there is no device 'abacus'"),
        (["RUN", "--csv", "/nowhere/a.csv"], "cannot write /nowhere/a.csv"),
        (["RUN", "--set", "data.batch=2e7"], "would fit"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(
    run: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", *(str(run) if word == "RUN" else word for word in words)]) == 2
    assert sentence in capsys.readouterr().err


def test_the_picture_shows_what_is_taken_for_what() -> None:
    labels = np.array([0, 0, 1, 2])
    found = Evaluation(("cats", "dogs", "mice"), labels, np.array([[0], [1], [1], [0]]), np.ones((4, 1)))
    assert found.confusion.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    picture = np.asarray(confusion_picture(found))
    cell = 40
    margin = len(picture) - 3 * cell
    middles = picture[margin + cell // 2 :: cell, margin + cell // 2 :: cell]
    assert (middles < 255).tolist() == (found.confusion > 0).tolist()
    assert middles[1, 1] < middles[0, 0]
    names = picture[:margin, margin:]
    assert all((names[:, i * cell : (i + 1) * cell] < 128).any() for i in range(3))
