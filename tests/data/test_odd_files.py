"""More than forty odd and broken files: each is stored, with a note, or skipped and named; the counts add up."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexdsl.data.errors import ImageError
from alexdsl.data.shards.convert import Options
from alexdsl.data.shards.index import Description, Index
from alexdsl.data.shards.listing import list_folder
from alexdsl.data.shards.preparation import Preparation, prepare
from alexdsl.data.shards.source import ShardSource
from tests.data.corpus import Odd, handled, skipped, write

SIDE = 32


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Description, list[Odd]]:
    """The corpus prepared: folder, description, files."""
    root = tmp_path_factory.mktemp("odd")
    files = write(root / "src" / "odd")
    listing = list_folder(root / "src")
    return root / "dst", prepare(listing, root / "dst", Preparation(Options(SIDE), 7, 2)), files


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len([*handled(), *skipped()]) >= 40


def test_counts_add_up(made: tuple[Path, Description, list[Odd]]) -> None:
    folder, description, files = made
    assert description.found == len(files)
    assert description.images + sum(description.skipped.values()) == description.found
    assert description.skipped == Counter(file.fault for file in files if file.fault)
    assert description.notes == Counter(note for file in files for note in file.notes or ())
    assert [shard["images"] for shard in description.shards] == np.bincount(Index(folder).records["shard"]).tolist()


def test_every_skipped_file_is_named_with_its_reason(made: tuple[Path, Description, list[Odd]]) -> None:
    folder, _, files = made
    named = {found["name"]: found for found in map(json.loads, (folder / "skipped.jsonl").read_text().splitlines())}
    assert {name: found["fault"] for name, found in named.items()} == {
        f"odd/{file.name}": file.fault for file in files if file.fault
    }
    assert all(found["message"].startswith(name) for name, found in named.items())


def test_every_other_file_is_stored_and_read(made: tuple[Path, Description, list[Odd]]) -> None:
    folder, _, files = made
    source, index = ShardSource(folder), Index(folder)
    assert {index.name(i) for i in range(len(index))} == {f"odd/{file.name}" for file in files if not file.fault}
    for i in range(len(source)):
        image = source.read(i)
        assert image.shape[:2] == (index.records["height"][i], index.records["width"][i])
        assert min(image.shape[:2]) == SIDE


def test_rotated_pictures_are_stored_upright(made: tuple[Path, Description, list[Odd]]) -> None:
    folder, _, _ = made
    index = Index(folder)
    shapes = {index.name(i): (index.records["height"][i], index.records["width"][i]) for i in range(len(index))}
    for turn in range(2, 9):
        height, width = shapes[f"odd/rotated {turn}.jpg"]
        assert (height > width) == (turn >= 5)


@pytest.mark.parametrize("file", list(skipped()), ids=lambda file: file.name)
def test_strict_stops_at_each(file: Odd, tmp_path: Path) -> None:
    (tmp_path / "src" / "a").mkdir(parents=True)
    (tmp_path / "src" / "a" / file.name).write_bytes(file.raw)
    listing = list_folder(tmp_path / "src")
    with pytest.raises(ImageError, match=r"^a/") as caught:
        prepare(listing, tmp_path / "dst", Preparation(Options(SIDE), processes=1, strict=True))
    assert caught.value.fault == file.fault
    assert not (tmp_path / "dst" / "dataset.json").exists()


def test_a_file_larger_than_any_photograph_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    with (tmp_path / "a" / "sparse.jpg").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ImageError, match=r"sparse\.jpg is a file of 1,099,511,627,776 bytes") as caught:
        list_folder(tmp_path)[0].read()
    assert caught.value.fault == "too large"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a" / "folder.jpg").mkdir(parents=True)
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    (tmp_path / "a" / "circle.jpg").symlink_to("circle.jpg")
    (tmp_path / "a" / "gone.jpg").symlink_to("nowhere.jpg")
    listing = list_folder(tmp_path)
    messages = []
    for i in range(len(listing)):
        with pytest.raises(ImageError) as caught:
            listing[i].read()
        assert caught.value.fault == "unreadable"
        messages.append(str(caught.value))
    assert messages == [
        "a/circle.jpg cannot be read: Too many levels of symbolic links",
        "a/gone.jpg cannot be read: No such file or directory",
        "a/pipe.jpg is not a plain file",
    ]


def test_a_jpeg_of_the_right_size_is_kept_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "src" / "a").mkdir(parents=True)
    for name, size in (("right", (40, SIDE)), ("large", (80, 64))):
        Image.new("RGB", size, (200, 30, 90)).save(tmp_path / "src" / "a" / f"{name}.jpg")
    for options, expected in ((Options(SIDE), {"a/right.jpg"}), (Options(None), {"a/right.jpg", "a/large.jpg"})):
        folder = tmp_path / f"side {options.side}"
        description = prepare(list_folder(tmp_path / "src"), folder, Preparation(options, processes=1))
        index = Index(folder)
        same = {index.name(i) for i in range(2) if index.raw(i) == (tmp_path / "src" / index.name(i)).read_bytes()}
        assert same == expected
        assert description.kept == len(expected)
