"""What is found in trees and list files, how classes are named, and what is said where nothing fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from alexdsl.data.errors import DataError
from alexdsl.data.shards.inputs import listings
from alexdsl.data.shards.listing import Listing, list_folder, read_list


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def held(listing: Listing) -> dict[str, str]:
    """Name -> class of every image."""
    images = (listing[i] for i in range(len(listing)))
    return {image.name: listing.classes[image.label] for image in images}


def test_trees_of_any_depth(tmp_path: Path) -> None:
    root = touch(tmp_path, "z/1.jpg", "a/b/c/2.JPEG", "a/b/3.png", "a.b/4.jpg")
    listing = list_folder(root)
    assert held(listing) == {"z/1.jpg": "z", "a/b/c/2.JPEG": "a/b/c", "a/b/3.png": "a/b", "a.b/4.jpg": "a.b"}
    assert list(listing.classes) == sorted(listing.classes)
    assert listing.labels.tolist() == [listing[i].label for i in range(4)]
    assert [listing[i].read().decode() for i in range(4)] == [listing[i].name for i in range(4)]
    assert held(list_folder(root, depth=1)) == {
        "z/1.jpg": "z",
        "a/b/c/2.JPEG": "a",
        "a/b/3.png": "a",
        "a.b/4.jpg": "a.b",
    }


def test_a_very_deep_tree_and_a_circle(tmp_path: Path) -> None:
    deep = "/".join("d" * 500)
    root = touch(tmp_path, f"{deep}/1.jpg", "a/2.jpg")
    (root / "a" / "up").symlink_to(root)
    assert set(held(list_folder(root)).values()) == {deep, "a"}


def test_what_is_not_taken_is_counted(tmp_path: Path) -> None:
    root = touch(tmp_path, "a/1.jpg", "a/notes.txt", "a/.hidden.jpg", "a/README", "lost.jpg", "also.txt")
    (root / "empty").mkdir()
    listing = list_folder(root)
    assert list(held(listing)) == ["a/1.jpg"]
    assert listing.ignored == {".txt": 2, "without an ending": 1, "beside the class folders": 1}
    assert listing.empty == ["empty"]


def test_train_and_val_share_their_classes(tmp_path: Path) -> None:
    root = touch(tmp_path, "train/a/1.jpg", "train/b/2.jpg", "val/b/3.jpg")
    found = dict(listings(root))
    assert {part: held(listing) for part, listing in found.items()} == {
        "train": {"a/1.jpg": "a", "b/2.jpg": "b"},
        "val": {"b/3.jpg": "b"},
    }
    touch(tmp_path, "val/c/4.jpg")
    with pytest.raises(DataError, match="there is a class 'c' that the training images do not have"):
        list(listings(root))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("x/1.jpg cat\nx/2.jpg dog\n", {"x/1.jpg": "cat", "x/2.jpg": "dog"}),
        ("# list\n\nx/1.jpg\t2\nx/2.jpg 0\n", {"x/1.jpg": "2", "x/2.jpg": "0"}),
        ("two words.jpg, big cat\n../up.jpg,dog", {"two words.jpg": "big cat", "../up.jpg": "dog"}),
    ],
)
def test_lists(lines: str, expected: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(lines)
    assert held(read_list(tmp_path / "list.txt")) == expected


def test_numbers_as_labels_keep_their_meaning(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("1.jpg 10\n2.jpg 2\n")
    listing = read_list(tmp_path / "list.txt")
    assert listing.classes == tuple(str(i) for i in range(11))
    assert listing.labels.tolist() == [10, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1.jpg cat\nalone\n", r"list\.txt, line 2: a path and a label are due, not 'alone'"),
        (b"1.jpg,\n", "line 1: a path and a label are due"),
        (b"\n# nothing\n", "lists no images"),
        (b"1.jpg 99999999999999\n", "has the label 99999999999999; labels count from 0 to 999,999"),
        (b"\xff\xd8\xff\0\0\0 1", "line 1: a path and a label are due"),
    ],
)
def test_bad_lists(text: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(text)
    with pytest.raises(DataError, match=message):
        read_list(tmp_path / "list.txt")


def test_nothing_to_prepare(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder or file"):
        list(listings(tmp_path / "none"))
    touch(tmp_path, "1.jpg", "a/x.txt")
    with pytest.raises(DataError, match="holds 2 files, but no class folder with images"):
        list(listings(tmp_path))


def test_names_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with open(bytes(tmp_path / "a") + b"/\xff\xfe.jpg", "wb") as file:
        file.write(b"x")
    listing = list_folder(tmp_path)
    assert listing[0].read() == b"x"
    assert listing[0].shown == "a/\ufffd\ufffd.jpg"


def test_digest_tells_names_and_labels_apart(tmp_path: Path) -> None:
    digests = set()
    for text in ("1.jpg a\n2.jpg b\n", "1.jpg b\n2.jpg a\n", "1.jpg a\n2.jpg a\n", "1.jpg a\n3.jpg b\n"):
        (tmp_path / "list.txt").write_text(text)
        digests.add(read_list(tmp_path / "list.txt").digest())
    assert len(digests) == 4
