"""Images in arrays and folders, and what is said when they are not as they should be."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexdsl.data.errors import DataError
from alexdsl.data.folder import open_folder, parts
from alexdsl.data.sources import Subset, array_source, read_idx, read_npz

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 4), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def idx_bytes(array: np.ndarray, type_code: int = 8) -> bytes:
    return bytes([0, 0, type_code, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes()


def make_folder(root: Path, classes: dict[str, list[str]]) -> Path:
    for shade, (name, files) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for file in files:
            Image.new("RGB", (8, 6), (shade * 50, 0, 0)).save(root / name / file, "PNG")
    return root


class TestArrays:
    def test_reads(self) -> None:
        source = array_source(IMAGES, LABELS, ["a", "b", "c"], "here")
        assert (len(source), source.size, source.classes) == (6, (5, 4), ("a", "b", "c"))
        assert source.label(4) == 1
        assert source.labels.dtype == np.int64
        np.testing.assert_array_equal(source.read(3), IMAGES[3][:, :, None])
        assert source.name(3) == "image 3 of here"
        assert source.description == "6 images of 3 classes from here"

    def test_shapes(self) -> None:
        colour = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), np.uint8)
        for given in (colour, colour.transpose(0, 3, 1, 2)):
            np.testing.assert_array_equal(array_source(given, LABELS, None, "x").read(2), colour[2])
        assert array_source(IMAGES, LABELS[:, None], None, "x").classes == ("0", "1", "2")

    @pytest.mark.parametrize(
        ("images", "labels", "classes", "message"),
        [
            (IMAGES, LABELS[:5], None, "x holds 6 images but 5 labels"),
            (IMAGES.astype(np.float32), LABELS, None, "are float32, not uint8"),
            (IMAGES, LABELS * 1.0, None, r"labels of x are float64\[6\]"),
            (IMAGES, np.eye(6, dtype=int), None, r"labels of x are int64\[6, 6\]"),
            (IMAGES, LABELS - 1, None, "has the label -1"),
            (IMAGES, LABELS, ["a"], "names 1 classes but has label 2"),
            (IMAGES[:0], LABELS[:0], None, "x holds no images"),
            (IMAGES[:, 0], LABELS, None, r"have shape \[6, 4\]"),
            (np.zeros((6, 5, 4, 2), np.uint8), LABELS, None, r"have shape \[6, 5, 4, 2\]"),
            (np.zeros((6, 0, 4), np.uint8), LABELS, None, r"have shape \[6, 0, 4, 1\]"),
        ],
    )
    def test_bad_arrays(self, images: np.ndarray, labels: np.ndarray, classes: list[str] | None, message: str) -> None:
        with pytest.raises(DataError, match=message):
            array_source(images, labels, classes, "x")

    def test_fingerprint_follows_the_pixels(self) -> None:
        a, other = array_source(IMAGES, LABELS, None, "x"), IMAGES.copy()
        other[2, 0, 0] ^= 1
        b = array_source(other, LABELS, None, "x")
        chosen = np.arange(6)
        assert a.fingerprint(chosen) == a.fingerprint(chosen)
        assert a.fingerprint(chosen) != b.fingerprint(chosen)
        assert a.fingerprint(chosen[:2]) == b.fingerprint(chosen[:2])

    def test_subset(self) -> None:
        part = Subset(array_source(IMAGES, LABELS, None, "x"), np.array([5, 0]), "two of x")
        assert (len(part), part.label(0), part.name(0), part.size) == (2, 2, "image 5 of x", (5, 4))
        np.testing.assert_array_equal(part.read(1), IMAGES[0][:, :, None])
        np.testing.assert_array_equal(part.labels, [2, 0])


class TestIdx:
    def test_plain_and_zipped(self, tmp_path: Path) -> None:
        (tmp_path / "plain").write_bytes(idx_bytes(IMAGES))
        (tmp_path / "zipped.gz").write_bytes(gzip.compress(idx_bytes(IMAGES)))
        for name in ("plain", "zipped.gz", "zipped"):  # the last: found under its zipped name
            np.testing.assert_array_equal(read_idx(str(tmp_path / name), (3,)), IMAGES)

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "begins with nothing"),
            (b"PK\3\4", "begins with 50 4b 03 04"),
            (idx_bytes(IMAGES, 13), "type 0x0d"),
            (idx_bytes(IMAGES[0]), "has 2 dimensions, not 3"),
            (idx_bytes(IMAGES)[:-1], "120 bytes, but holds 119"),
            (idx_bytes(IMAGES)[:6], "but holds 0"),
            (gzip.compress(idx_bytes(IMAGES))[:-9], "cannot be read"),
            (b"\x1f\x8bxx", "cannot be read"),
            (b"\0\0\x08\x03" + struct.pack(">3i", -1, 5, 4), "should hold"),
        ],
    )
    def test_bad_files(self, tmp_path: Path, data: bytes, message: str) -> None:
        (tmp_path / "f").write_bytes(data)
        with pytest.raises(DataError, match=message):
            read_idx(str(tmp_path / "f"), (3,))

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="there is no file"):
            read_idx(str(tmp_path / "f"), (3,))


class TestNpz:
    def test_named_arrays_only(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", images=IMAGES, labels=LABELS)
        assert set(read_npz(str(tmp_path / "a.npz"), ["labels", "classes"])) == {"labels"}

    def test_bad_files(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "object.npz", images=np.array([{}, None], object))
        (tmp_path / "text.npz").write_text("hello")
        (tmp_path / "empty.npz").write_bytes(b"")
        np.save(tmp_path / "single.npy", IMAGES)
        (tmp_path / "cut.npz").write_bytes((tmp_path / "object.npz").read_bytes()[:80])
        for name in ("object.npz", "text.npz", "empty.npz", "cut.npz", "single.npy"):
            with pytest.raises(DataError, match=name):
                read_npz(str(tmp_path / name), ["images"])
        with pytest.raises(DataError, match="there is no file"):
            read_npz(str(tmp_path / "none.npz"), [])


class TestFolder:
    def test_lists_in_order_and_reads(self, tmp_path: Path) -> None:
        root = make_folder(tmp_path, {"dog": ["b.JPG", "a.png", "c.Jpeg"], "cat": ["z.jpeg"]})
        (root / "dog" / "notes.txt").write_text("")
        (root / "dog" / "._a.png").write_text("")
        (root / "dog" / "folder.png").mkdir()
        (root / ".hidden").mkdir()
        (root / "README").write_text("")
        source = open_folder(str(root))
        assert source.classes == ("cat", "dog")
        assert [source.path(i).relative_to(root).as_posix() for i in range(len(source))] == [
            "cat/z.jpeg",
            "dog/a.png",
            "dog/b.JPG",
            "dog/c.Jpeg",
        ]
        assert source.labels.tolist() == [0, 1, 1, 1]
        assert source.read(1).shape == (6, 8, 3)
        assert source.size is None
        assert source.description == f"4 images of 2 classes in {root}"

    def test_listing_decodes_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "broken.png").write_text("no image")
        source = open_folder(str(tmp_path))
        with pytest.raises(DataError, match=r"a/broken\.png cannot be read"):
            source.read(0)

    def test_names_that_are_not_text(self, tmp_path: Path) -> None:
        make_folder(tmp_path, {"a": ["x.png"]})
        (tmp_path / "a" / "x.png").rename(tmp_path / "a" / "\udcff.png")
        source = open_folder(str(tmp_path))
        assert source.read(0).shape == (6, 8, 3)
        source.fingerprint(np.array([0]))

    def test_travels(self, tmp_path: Path) -> None:
        source = pickle.loads(pickle.dumps(open_folder(str(make_folder(tmp_path, {"a": ["1.png", "22.png"]})))))
        assert [source.path(i).name for i in range(2)] == ["1.png", "22.png"]

    def test_known_classes(self, tmp_path: Path) -> None:
        root = make_folder(tmp_path, {"b": ["1.png"], "d": ["1.png"]})
        source = open_folder(str(root), ("a", "b", "c", "d"))
        assert source.labels.tolist() == [1, 3]
        assert source.path(1) == root / "d" / "1.png"
        with pytest.raises(DataError, match="has a class 'd' that the training images do not have"):
            open_folder(str(root), ("a", "b"))
        with pytest.raises(DataError, match="has a class 'b' and 1 more"):
            open_folder(str(root), ("a",))

    def test_fingerprint_follows_the_files(self, tmp_path: Path) -> None:
        root = make_folder(tmp_path, {"a": ["1.png", "2.png"]})
        source, chosen = open_folder(str(root)), np.arange(2)
        before = source.fingerprint(chosen)
        assert before == open_folder(str(root)).fingerprint(chosen)
        Image.new("L", (300, 200)).save(root / "a" / "2.png")
        assert source.fingerprint(chosen) != before
        (root / "a" / "2.png").unlink()
        with pytest.raises(DataError, match="has gone"):
            source.fingerprint(chosen)

    def test_parts(self, tmp_path: Path) -> None:
        plain = make_folder(tmp_path / "plain", {"a": ["1.png"], "b": ["1.png"]})
        assert parts(str(plain)) == (str(plain), None)
        cut = make_folder(tmp_path / "cut", {"train/a": ["1.png"], "val/a": ["1.png"]})
        assert parts(str(cut)) == (str(cut / "train"), str(cut / "val"))
        half = make_folder(tmp_path / "half", {"train/a": ["1.png"], "test/a": ["1.png"]})
        assert parts(str(half)) == (str(half / "train"), None)
        classes = make_folder(tmp_path / "trains", {"train": ["1.png"], "val": ["1.png"]})  # classes of these names
        assert parts(str(classes)) == (str(classes), None)

    def test_bad_folders(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="there is no folder"):
            open_folder(str(tmp_path / "none"))
        with pytest.raises(DataError, match="is empty; it should hold one sub-folder"):
            open_folder(str(tmp_path))
        (tmp_path / "a.png").write_text("")
        with pytest.raises(DataError, match="has 1 files but no sub-folders"):
            open_folder(str(tmp_path))
        with pytest.raises(DataError, match="cannot be listed: Not a directory"):
            open_folder(str(tmp_path / "a.png"))
        (tmp_path / "a").mkdir()
        with pytest.raises(DataError, match=r"class folder .*a holds no image \(\.jpg, .*\)$"):
            open_folder(str(tmp_path))
        (tmp_path / "a" / "deeper").mkdir()
        with pytest.raises(DataError, match=r"no image \(.*\), but folders: alexdsl data prepare .* DST"):
            open_folder(str(tmp_path))
