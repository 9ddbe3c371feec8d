"""From settings to sources: fall-backs, held-out images, the classes."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexdsl.data.errors import DataError
from alexdsl.data.resizing import image_shape
from alexdsl.data.resolve import class_names, resolve
from alexdsl.data.settings import (
    ColourJitter,
    DataSettings,
    Env,
    Exact,
    Folder,
    Idx,
    Mirror,
    Npz,
    PcaNoise,
    RandomCrop,
    RandomScale,
    Sample,
    ShorterSide,
    Split,
)

IMAGENET = DataSettings(Folder(Env("IMAGENET"), Sample()), resize=ShorterSide(256), crop=227, augment=(RandomCrop(),))


def make_folder(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(root / name)
    return root


def test_the_variable_names_the_folder(tmp_path: Path) -> None:
    root = make_folder(tmp_path, "a/1.png", "b/1.png")
    resolved = resolve(IMAGENET, {"IMAGENET": str(root)})
    assert resolved.classes == ("a", "b")
    assert resolved.val is None
    assert resolved.notice is None
    assert list(class_names(IMAGENET, {"IMAGENET": str(root)})) == ["a", "b"]


@pytest.mark.parametrize("environ", [{}, {"IMAGENET": ""}])
def test_an_unset_variable_leads_to_the_sample(environ: dict[str, str]) -> None:
    resolved = resolve(IMAGENET, environ)
    assert len(resolved.classes) == 10
    assert resolved.train.size == (28, 28)
    assert resolved.val is not None
    assert len(resolved.val) < len(resolved.train)
    assert resolved.notice is not None
    assert "\n" not in resolved.notice
    assert resolved.notice.startswith("IMAGENET is not set, so this trains on the sample: ")
    assert resolved.notice.endswith("IMAGENET=/path/to/folders-of-classes alexdsl run ...")
    assert tuple(class_names(IMAGENET, environ)) == tuple(resolved.classes)


def test_a_set_variable_is_meant(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        resolve(IMAGENET, {"IMAGENET": str(tmp_path / "none")})


def test_an_unset_variable_without_else() -> None:
    with pytest.raises(DataError, match="variable PHOTOS is not set"):
        resolve(DataSettings(Folder(Env("PHOTOS"))), {})


def test_a_missing_folder_with_else(tmp_path: Path) -> None:
    resolved = resolve(DataSettings(Folder(str(tmp_path / "none"), Sample())))
    assert resolved.notice is not None
    assert resolved.notice.startswith("there is no folder ")


def test_train_and_val_folders(tmp_path: Path) -> None:
    root = make_folder(tmp_path, "train/a/1.png", "train/b/1.png", "val/b/1.png")
    resolved = resolve(DataSettings(Folder(str(root))))
    assert resolved.val is not None
    assert resolved.val.labels.tolist() == [1]
    assert class_names(DataSettings(Folder(str(root)))) == ["a", "b"]
    own = make_folder(tmp_path / "own", "a/1.png", "a/2.png")
    resolved = resolve(DataSettings(Folder(str(root)), val=Folder(str(own))))
    assert resolved.val is not None
    assert resolved.val.labels.tolist() == [0, 0]


def test_flat_val_folder_is_explained(tmp_path: Path) -> None:
    root = make_folder(tmp_path, "train/a/1.png", "val/1.png")
    with pytest.raises(DataError, match="val has 1 files but no sub-folders"):
        resolve(DataSettings(Folder(str(root))))
    with pytest.raises(DataError, match="leaves no image on one side"):  # split does not look at val/
        resolve(DataSettings(Folder(str(root)), val=Split(0.05)))


def test_split() -> None:
    whole = resolve(DataSettings(Sample())).train
    resolved = resolve(DataSettings(Sample(), val=Split(0.05)))
    assert resolved.val is not None
    held_out = round(len(whole) * 0.05)
    assert (len(resolved.train), len(resolved.val)) == (len(whole) - held_out, held_out)
    names = [source.name(i) for source in (resolved.train, resolved.val) for i in range(len(source))]
    assert len(set(names)) == len(whole)
    again = resolve(DataSettings(Sample(), val=Split(0.05))).val
    assert again is not None
    assert [again.name(i) for i in range(5)] == [resolved.val.name(i) for i in range(5)]


def idx_file(path: Path, array: np.ndarray) -> str:
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes())
    return str(path)


def test_idx(tmp_path: Path) -> None:
    images, labels = np.zeros((4, 3, 3), np.uint8), np.array([0, 3, 1, 3], np.uint8)
    setting = Idx(idx_file(tmp_path / "images", images), idx_file(tmp_path / "labels", labels))
    resolved = resolve(DataSettings(setting, val=setting))
    assert resolved.classes == ("0", "1", "2", "3") == class_names(DataSettings(setting))
    assert resolved.val is not None
    assert len(resolved.val) == 4
    with pytest.raises(DataError, match="has 1 dimensions, not 3 or 4; are images and labels in the right order"):
        resolve(DataSettings(Idx(setting.labels, setting.images)))
    few = tmp_path / "few.npz"
    np.savez(few, images=images, labels=labels % 2)
    with pytest.raises(DataError, match=r"data\.val has 4 images of 4 classes .* have 2 classes"):
        resolve(DataSettings(Npz(str(few)), val=setting))


@pytest.mark.parametrize(
    "names", [("train_images", "train_labels", "val_images", "val_labels"), ("x_train", "y_train", "x_test", "y_test")]
)
def test_npz(tmp_path: Path, names: tuple[str, ...]) -> None:
    images, labels = np.zeros((4, 3, 3), np.uint8), np.array([0, 3, 1, 3])
    path = str(tmp_path / "a.npz")
    np.savez(path, **dict(zip(names, (images, labels, images[:2], labels[:2]), strict=True)))
    resolved = resolve(DataSettings(Npz(path)))
    assert resolved.classes == ("0", "1", "2", "3") == class_names(DataSettings(Npz(path)))
    assert resolved.val is not None
    assert len(resolved.val) == 2


def test_npz_of_other_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pictures=np.zeros(3))
    with pytest.raises(DataError, match="holds no arrays train_images, train_labels"):
        resolve(DataSettings(Npz(str(tmp_path / "a.npz"))))
    with pytest.raises(DataError, match="holds no labels"):
        class_names(DataSettings(Npz(str(tmp_path / "a.npz"))))


def test_unknown_sample() -> None:
    with pytest.raises(DataError, match="there is no sample 'digits'; there is 'fashion'"):
        resolve(DataSettings(Sample("digits")))


def test_declared_classes() -> None:
    assert len(resolve(DataSettings(Sample(), classes=1000)).classes) == 10
    with pytest.raises(DataError, match=r"data\.classes is 9, but there are .* 10 classes"):
        resolve(DataSettings(Sample(), classes=9))


@pytest.mark.parametrize(
    ("change", "leaf"),
    [
        ({"crop": 257}, "crop"),
        ({"resize": Exact(300, 200)}, "crop"),
        ({"crop": 0}, "crop"),
        ({"crop": None}, "augment"),
        ({"crop": None, "augment": (), "test": "ten_crop"}, "test"),
        ({"batch": 0}, "batch"),
        ({"channels": 2}, "channels"),
        ({"classes": 0}, "classes"),
        ({"val": Split(0)}, "val"),
        ({"val": Split(5)}, "val"),
        ({"augment": (PcaNoise(-1),)}, "augment"),
        ({"augment": (Mirror(), Mirror())}, "augment"),
        ({"augment": (RandomScale(0, 1),)}, "augment"),
        ({"augment": (RandomScale(2, 1),)}, "augment"),
        ({"augment": (RandomScale(0.5, 1),), "mean": "image"}, "augment"),
        ({"augment": (RandomScale(0.5, 1),), "crop": None}, "augment"),
        ({"augment": (ColourJitter(contrast=1.5),)}, "augment"),
        ({"augment": (ColourJitter(0.5),), "mean": "image"}, "augment"),
    ],
)
def test_problems_name_their_leaf(change: dict[str, object], leaf: str) -> None:
    settings = replace(IMAGENET, **change)
    assert [found for found, _ in settings.problems()] == [leaf]
    with pytest.raises(DataError, match=rf"data\.{leaf}: "):
        resolve(settings, {})


def test_image_shape() -> None:
    sample = resolve(DataSettings(Sample())).train
    assert image_shape(IMAGENET) == (3, 227, 227)
    assert image_shape(replace(IMAGENET, crop=(200, 100), channels=1)) == (1, 200, 100)
    assert image_shape(replace(IMAGENET, crop=None)) == (3, 256, 256)
    assert image_shape(replace(IMAGENET, crop=None, resize=Exact(20, 30))) == (3, 20, 30)
    assert image_shape(DataSettings(Sample(), channels=1), sample) == (1, 28, 28)
    assert image_shape(DataSettings(Sample(), resize=ShorterSide(40, square=False)), sample) == (3, 40, 40)
    with pytest.raises(DataError, match=r"different sizes; data\.crop"):
        image_shape(DataSettings(Folder("x")))
