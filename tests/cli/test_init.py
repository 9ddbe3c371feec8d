"""``alexdsl init``: what it writes says what is in the folder, is formatted, checks, and runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexdsl.cli import main
from alexdsl.data.settings import Shards, Split
from alexdsl.spec import load


def pictures(folder: Path, size: tuple[int, int], mode: str = "RGB", counts: tuple[int, ...] = (30, 20)) -> Path:
    random = np.random.default_rng(0)
    for number, count in enumerate(counts):
        (folder / f"class {number}").mkdir(parents=True)
        for i in range(count):
            shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
            array = np.clip(random.normal(90 + 60 * number, 40, shape), 0, 255).astype(np.uint8)
            Image.fromarray(array).save(folder / f"class {number}" / f"{i}.png")
    return folder


def test_a_folder_of_small_pictures_is_ready_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "My Pictures", (40, 30))
    assert main(["init", "My Pictures"]) == 0
    assert "50 images of 2 classes" in capsys.readouterr().out
    text = Path("my-pictures.net").read_text()
    assert "class 0 30, class 1 20" in text
    assert "the shorter side 30 in the middle" in text
    assert main(["fmt", "--check", "my-pictures.net"]) == 0
    assert main(["check", "my-pictures.net"]) == 0
    assert main(["run", "my-pictures.net", "--steps", "30", "--out", "run"]) == 0
    assert "top1 100.0%" in capsys.readouterr().out.splitlines()[-2]
    assert main(["init", "My Pictures"]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("size", "mode", "crop", "channels"),
    [((28, 28), "L", 32, 1), ((120, 90), "RGB", 64, 3), ((300, 260), "RGB", 227, 3)],
)
def test_the_net_fits_the_pictures(size: tuple[int, int], mode: str, crop: int, channels: int, tmp_path: Path) -> None:
    pictures(tmp_path / "set", size, mode, (12, 12, 2))
    assert main(["init", str(tmp_path / "set"), "-o", str(tmp_path / "set.net")]) == 0
    spec = load(tmp_path / "set.net")
    assert spec.data is not None
    assert (spec.data.crop, spec.data.channels) == (crop, channels)
    assert spec.shaped.type(spec.shaped.outputs["logits"]).shape[1] == 3
    assert spec.data.val == Split(0.1)
    assert spec.data.batch * 4 <= 26


def test_held_out_images_of_the_folder_are_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(tmp_path / "set" / "train", (32, 32))
    pictures(tmp_path / "set" / "val", (32, 32), counts=(3, 4))
    (tmp_path / "set" / "train" / "class 0" / "broken.png").write_text("no picture")
    assert main(["init", str(tmp_path / "set"), "-o", "-"]) == 0
    text = capsys.readouterr().out
    assert "# 7 images to validate on" in text
    assert "val " not in "\n".join(line for line in text.splitlines() if not line.strip().startswith("#"))
    assert "# 1 more could not be read" in text


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_a_prepared_set_of_deep_folders(
    mode: str, channels: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part, counts in (("train", (14, 13)), ("val", (2, 3))):
        for kind in ("animals", "plants"):
            pictures(tmp_path / "deep" / part / kind, (60, 50), mode, counts)
    assert main(["init", str(tmp_path / "deep")]) == 2
    assert f"alexdsl data prepare {tmp_path / 'deep' / 'train'} DST" in capsys.readouterr().err
    prepared = tmp_path / "set"
    words = ["data", "prepare", str(tmp_path / "deep"), str(prepared), "--depth", "1", "--side", "40"]
    assert main([*words, "--processes", "1"]) == 0
    assert f"alexdsl init {prepared}" in capsys.readouterr().out
    assert main(["init", str(prepared), "-o", str(tmp_path / "set.net")]) == 0
    assert "54 images of 2 classes" in capsys.readouterr().out
    text = (tmp_path / "set.net").read_text()
    assert "animals 27, plants 27" in text
    assert "# 10 images to validate on" in text
    assert "48 to 48 pixels wide, 40 to 40 high" in text
    spec = load(tmp_path / "set.net")
    assert spec.data is not None
    assert (spec.data.crop, spec.data.channels, spec.data.source) == (32, channels, Shards(str(prepared)))
    assert main(["run", str(tmp_path / "set.net"), "--steps", "1", "--out", str(tmp_path / "run")]) == 0


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "nowhere")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    pictures(tmp_path / "one", (20, 20), counts=(3,))
    assert main(["init", str(tmp_path / "one")]) == 2
    assert "a single class, 'class 0'" in capsys.readouterr().err
    (tmp_path / "bad" / "a").mkdir(parents=True)
    (tmp_path / "bad" / "b").mkdir()
    for name in ("a", "b"):
        (tmp_path / "bad" / name / "x.png").write_text("no picture")
    assert main(["init", str(tmp_path / "bad")]) == 2
    assert "none of 2 images" in capsys.readouterr().err
