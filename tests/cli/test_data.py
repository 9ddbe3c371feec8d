"""``alexdsl data``: what each command prints and answers, and that mistakes are messages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from alexdsl.cli import main, show
from alexdsl.cli.data import prepare
from alexdsl.data.shards.preparation import usual_per_shard
from tests.data.corpus import encoded, picture, write


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of six images, one of which is broken."""
    for label, first in (("cat", 0), ("dog", 10)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(first, first + 6):
            (tmp_path / "photos" / label / f"{i}.jpg").write_bytes(encoded(picture(i), "JPEG"))
    (tmp_path / "photos" / "dog" / "10.jpg").write_bytes(b"")
    return tmp_path / "photos"


def test_from_a_folder_to_a_run(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared = tmp_path / "prepared"
    assert main(["data", "prepare", str(photos), str(prepared), "--side", "32", "--processes", "1"]) == 0
    said = capsys.readouterr()
    assert "1 of 12 skipped (1 empty), named in" in said.out
    assert "skipped: dog/10.jpg cannot be read as an image" in said.err
    assert f'source = shards("{prepared}")' in said.out
    assert main(["data", "verify", str(prepared), "--processes", "1"]) == 0
    assert "11 images of 2 classes: nothing found" in capsys.readouterr().out
    spec = tmp_path / "small.net"
    spec.write_text(
        f'data d {{ source = shards("{prepared}"), crop = 28, batch = 4 }}\n'
        "input image [3, 28, 28]\nscores = flatten | linear(data.classes)\n"
        "loss = softmax_cross_entropy(scores)\nsolver sgd { lr = 0.0001, steps = 2 }\n"
    )
    assert main(["run", str(spec), "--out", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert "11 images" in capsys.readouterr().out


def test_counts_of_the_corpus_add_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write(tmp_path / "src" / "odd")
    words = ["data", "prepare", str(tmp_path / "src"), str(tmp_path / "dst"), "--side", "16", "--processes", "2"]
    assert main(words) == 0
    said = capsys.readouterr()
    stored = int(re.search(r"(\d+) stored in", said.out)[1])
    skipped, found = map(int, re.search(r"(\d+) of (\d+) skipped", said.out).groups())
    assert stored + skipped == found == len(files)
    assert said.err.count("skipped: ") == 11
    assert f"skipped: and {skipped - 10} more" in said.err
    assert main([*words, "--strict"]) == 2
    assert capsys.readouterr().err.startswith("error: odd/")


def test_verify_says_what_and_answers_1(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "cat" / "dog_1.jpg").write_bytes((photos / "cat" / "1.jpg").read_bytes())
    assert main(["data", "verify", str(photos), "--processes", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == ["unusable", "misnamed", "duplicate"]
    assert lines[-1] == "13 images of 2 classes: 1 duplicate, 1 misnamed, 1 unusable"


def test_stats(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "stats", str(photos)]) == 0
    text = capsys.readouterr().out
    assert "12 images of 2 classes" in text
    assert "of 11 of them, 1 others of the sample cannot be used" in text
    assert main(["data", "prepare", str(photos), str(tmp_path / "dst"), "--keep", "--processes", "1"]) == 0
    capsys.readouterr()
    assert main(["data", "stats", str(tmp_path / "dst")]) == 0
    text = capsys.readouterr().out
    assert "fewest           dog 5, cat 6" in text
    assert "height           40 to 40, median 40" in text
    assert "skipped          1 empty" in text
    mean = json.loads((tmp_path / "dst" / "dataset.json").read_text())["mean"]
    assert " ".join(f"{value:.2f}" for value in mean) in text


def test_measuring_says_how_far_it_is_where_it_lasts(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "dog" / "10.jpg").unlink()
    spec = tmp_path / "small.net"
    spec.write_text(
        f'data d {{ source = folder("{photos}"), val = split(10%), crop = 28, batch = 4 }}\n'
        "input image [3, 28, 28]\nscores = flatten | linear(data.classes)\nloss = softmax_cross_entropy(scores)\n"
    )
    words = ["data", "show", str(spec), "--out", str(tmp_path / "sheet.png")]
    monkeypatch.setenv("ALEXDSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(show, "PLAIN_SECONDS", 0)
    assert main(words) == 0
    assert capsys.readouterr().err == f"{show.MEASURING}: 10 of 10\n"
    assert main(words) == 0  # measured before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("count", "shards"), [(1, 1), (5, 5), (33, 11), (16_000, 16), (1_281_167, 1_282)])
def test_even_a_small_set_has_shards_to_share(count: int, shards: int) -> None:
    assert -(-count // usual_per_shard(count)) == shards


def test_looking_over_says_how_far_it_is_where_it_lasts(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "PLAIN_SECONDS", 0)
    assert main(["data", "verify", str(photos), "--processes", "1"]) == 1
    said = capsys.readouterr()
    assert said.err == "12 of 12 images\n"
    assert "12 of 12" not in said.out


def test_show(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, sheet = tmp_path / "small.net", tmp_path / "seen.png"
    spec.write_text(
        f'data d {{ source = folder("{photos}"), val = split(40%), crop = 28, augment = mirror, batch = 4 }}\n'
        "input image [3, 28, 28]\nscores = flatten | linear(data.classes)\nloss = softmax_cross_entropy(scores)\n"
    )
    (photos / "dog" / "10.jpg").unlink()
    assert main(["data", "show", str(spec), "--out", str(sheet), "--count", "6"]) == 0
    assert "6 images of training from step 0, 28 x 28 pixels each" in capsys.readouterr().out
    training = sheet.read_bytes()
    assert main(["data", "show", str(spec), "--out", str(sheet), "--val"]) == 0
    assert "4 held-out images" in capsys.readouterr().out
    assert sheet.read_bytes() != training
    assert main(["data", "show", str(spec), "--out", str(sheet), "--set", 'data.val=folder("none")']) == 2
    assert "there is no folder none" in capsys.readouterr().err
    assert main(["data", "show", str(spec), "--count", "0"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prepare", "none", "dst"], "there is no folder or file none"),
        (["prepare", "photos", "dst", "--quality", "101"], "--quality expects a number from 1 to 100"),
        (["prepare", "photos", "dst", "--per-shard", "0"], "--per-shard expects a number from 1 to 1,000,000"),
        (["prepare", "photos", "photos"], "photos holds other things already"),
        (["prepare", "photos", "photos/cat/0.jpg"], "photos/cat/0.jpg: File exists"),
        (["prepare", "photos", "dst", "--strict"], "dog/10.jpg cannot be read as an image"),
        (["verify", "none"], "there is no folder or file none"),
        (["stats", "none"], "there is no folder or file none"),
    ],
)
def test_mistakes(
    words: list[str], message: str, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos.parent)
    assert main(["data", *words]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
