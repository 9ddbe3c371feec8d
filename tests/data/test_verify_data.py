"""Planted faults of every sort are found by name, in folders and in prepared sets, and sound sets are called sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alexdsl.data.shards.convert import Options
from alexdsl.data.shards.index import Index
from alexdsl.data.shards.inputs import listings
from alexdsl.data.shards.preparation import Preparation, prepare
from alexdsl.data.shards.verify import Finding, called, class_names, duplicates, open_parts, verify
from alexdsl.data.summary import summary
from tests.data.corpus import encoded, picture


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, raw in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(raw)
    return root


def photo(seed: int) -> bytes:
    return encoded(picture(seed), "JPEG")


SOUND = {f"{label}/{label}.{i}.jpg": photo(i + 5 * (label == "dog")) for label in ("cat", "dog") for i in range(4)}


def found(path: Path) -> list[Finding]:
    return list(verify(open_parts(path), 1))


def prepared(source: Path, folder: Path) -> Path:
    for part, listing in listings(source):
        prepare(listing, folder / part, Preparation(Options(32), 3, 1))
    return folder


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    source = write(tmp_path / "src", SOUND)
    assert found(source) == []
    assert found(prepared(source, tmp_path / "dst")) == []


def test_planted_in_a_folder(tmp_path: Path) -> None:
    planted = {
        "cat/empty.jpg": b"",
        "cat/cut.jpg": photo(50)[:600],
        "cat/text.jpg": b"text",
        "cat/dog_9.jpg": photo(60),
        "dog/again.png": encoded(picture(70), "PNG"),
        "dog/and again.bmp": encoded(picture(70), "BMP"),
        "cat/of another class.bmp": encoded(picture(70), "BMP"),
    }
    findings = found(write(tmp_path, SOUND | planted))
    assert [finding.what for finding in findings] == ["unusable"] * 3 + ["misnamed", "duplicate"]
    assert [finding.message.partition(" ")[0] for finding in findings[:3]] == [
        "cat/cut.jpg",
        "cat/empty.jpg",
        "cat/text.jpg",
    ]
    assert findings[3].message == "cat/dog_9.jpg is of class 'cat' but is called as 'dog' are"
    assert findings[4].message == (
        "the same picture in different classes: cat/of another class.bmp = dog/again.png = dog/and again.bmp"
    )


def test_duplicates_of_held_out_images(tmp_path: Path) -> None:
    source = write(tmp_path / "src", {f"train/{name}": raw for name, raw in SOUND.items()})
    write(source, {"val/dog/other.jpg": SOUND["dog/dog.1.jpg"], "val/cat/new.jpg": photo(80)})
    for path in (source, prepared(source, tmp_path / "dst")):
        (finding,) = found(path)
        assert finding.message.startswith("the same picture in training and held-out images: train: dog/dog.1.jpg")
        assert "= val: dog/other.jpg" in finding.message


def test_planted_in_a_prepared_set(tmp_path: Path) -> None:
    folder = prepared(write(tmp_path / "src", SOUND), tmp_path / "dst")
    index = Index(folder)
    place = index.listed(4)
    with open(place.path, "r+b") as shard:
        shard.seek(place.start + 100)
        shard.write(b"\0\0\0\0")
    findings = found(folder)
    assert [finding.what for finding in findings] == ["changed", "changed"]
    assert findings[0].message == f"{place.path} is not what was written: its SHA-256 differs"
    assert findings[1].message == f"{place.shown} is not what was stored: its checksum differs"
    Path(place.path).unlink()
    lost = {finding.message for finding in found(folder)}
    assert f"{place.path} cannot be read: No such file or directory" in lost
    assert len(lost) == 1 + int((index.records["shard"] == index.records["shard"][4]).sum())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat.7.jpg", "animals/cat"),
        ("a/b/CAT7.png", "animals/cat"),
        ("cat_big_1.jpg", "cat_big"),
        ("category.jpg", None),
        ("n01440764_18.JPEG", "n01440764"),
        ("n014407641.JPEG", None),
        ("7.jpg", None),
        ("x.jpg", None),
        ("same_1.jpg", None),
        ("bobcat.jpg", None),
    ],
)
def test_what_a_name_says(name: str, expected: str | None) -> None:
    classes = ["animals/cat", "cat_big", "n01440764", "7", "x", "a/same", "b/same"]
    label = called(name, class_names(classes))
    assert (None if label is None else classes[label]) == expected


def test_groups_of_duplicates() -> None:
    rows = np.array([[9, 1], [0, 0], [1, 9], [9, 1], [0, 0], [1, 8], [1, 9], [9, 1]], np.uint64)
    assert [group.tolist() for group in duplicates(rows)] == [[0, 3, 7], [2, 6]]
    assert duplicates(rows[:0]) == []


def test_summaries(tmp_path: Path) -> None:
    source = write(
        tmp_path / "src", SOUND | {"dog/broken.jpg": b"", "dog/high.jpg": encoded(picture(30, 90, 45), "JPEG")}
    )
    (listed,) = open_parts(source)
    of_folder = summary(listed)
    assert of_folder.counts.tolist() == [4, 6]
    assert (of_folder.measured, of_folder.unusable) == (9, 1)
    assert sorted(of_folder.heights.tolist()) == [40] * 8 + [90]
    assert int(of_folder.sizes.sum()) == sum(path.stat().st_size for path in source.rglob("*.jpg"))
    (whole,) = open_parts(prepared(source, tmp_path / "dst"))
    of_set = summary(whole)
    assert of_set.counts.tolist() == [4, 5]
    assert sorted(of_set.heights.tolist()) == [32] * 8 + [64]
    np.testing.assert_allclose(of_set.mean, of_folder.mean, atol=5)
