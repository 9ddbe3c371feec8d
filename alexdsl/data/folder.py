"""Class sub-folders of image files, listed without opening one of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexdsl.data.errors import DataError
from alexdsl.data.shards.index import DESCRIPTION
from alexdsl.data.sources import Image, Labels

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
"""Of files that can be decoded."""
TRAIN, HELD_OUT = "train", ("val", "validation", "valid")


class FolderSource:
    """The images of a folder of classes, in the order of class and file names.

    A million names are kept as one array of bytes with offsets, not as a million strings: a fifth of the memory, and
    loader workers share it.
    """

    def __init__(self, root: Path, classes: Sequence[str], names: Sequence[bytes], labels: Labels) -> None:
        self.root, self.classes, self.labels = root, tuple(classes), labels
        self.size: tuple[int, int] | None = None
        self._names = np.frombuffer(b"".join(names), np.uint8)
        self._ends = np.cumsum([len(name) for name in names], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def description(self) -> str:
        return f"{len(self):,} images of {len(self.classes):,} classes in {self.root}"

    def label(self, i: int) -> int:
        return int(self.labels[i])

    def path(self, i: int) -> Path:
        """The file of image i."""
        start = int(self._ends[i - 1]) if i else 0
        name = os.fsdecode(self._names[start : int(self._ends[i])].tobytes())
        return self.root / self.classes[self.label(i)] / name

    def read(self, i: int, at_least: int | None = None) -> Image:
        # Imported here: who only lists a folder needs nothing that reads images.
        from alexdsl.data.decoding import decode

        return decode(self.path(i), at_least)

    def name(self, i: int) -> str:
        return str(self.path(i))

    def fingerprint(self, chosen: NDArray[np.int64]) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for i in chosen:
            path = self.path(int(i))
            try:
                status = path.stat()
            except OSError:
                raise DataError(f"{path} has gone since its folder was listed") from None
            digest.update(os.fsencode(path) + f"\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        return digest.hexdigest()


def open_folder(path: str, classes: Sequence[str] | None = None) -> FolderSource:
    """The source of a folder whose sub-folders are classes; ``classes``: the known ones, of which it may hold some.

    Raises DataError when there is no such folder, no class in it, an empty class or an unknown one.
    """
    root = Path(path).expanduser()
    folders = class_folders(root)
    known = {name: number for number, name in enumerate(classes if classes is not None else folders)}
    unknown = [name for name in folders if name not in known]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise DataError(f"{root} has a class '{unknown[0]}'{more} that the training images do not have")
    names: list[bytes] = []
    labels: list[Labels] = []
    for name in folders:
        files = _image_files(root / name)
        if not files:
            endings = ", ".join(EXTENSIONS)
            raise DataError(f"the class folder {root / name} holds no image ({endings}){_deeper(root, name)}")
        names += files
        labels.append(np.full(len(files), known[name], np.int64))
    return FolderSource(root, tuple(known), names, np.concatenate(labels))


def _deeper(root: Path, name: str) -> str:
    """What to do about a class folder whose images may lie in folders of its own."""
    if not any(child.is_dir() for child in (root / name).iterdir()):
        return ""
    return f", but folders: alexdsl data prepare {root} DST takes images however deep they lie"


def class_folders(root: Path) -> list[str]:
    """The sorted names of the sub-folders. Raises DataError when the folder is missing, empty or has no sub-folder."""
    try:
        with os.scandir(root) as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError:
        raise DataError(f"there is no folder {root}") from None
    except OSError as error:
        raise DataError(f"the folder {root} cannot be listed: {error.strerror}") from None
    if not found:
        raise DataError(f"the folder {root} is empty; it should hold one sub-folder of images per class")
    folders = sorted(name for name, is_folder in found if is_folder)
    if (root / DESCRIPTION).exists() or (root / TRAIN / DESCRIPTION).exists():
        raise DataError(f'{root} holds a prepared set: source = shards("{root}") reads it')
    if not folders:
        raise DataError(f"{root} has {len(found):,} files but no sub-folders; it should hold one sub-folder per class")
    return folders


def parts(path: str) -> tuple[str, str | None]:
    """The folder of the training images and that of the held-out ones, where ``path`` is cut into train/ and val/."""
    root = Path(path).expanduser()
    train = root / TRAIN
    if not train.is_dir() or not any(child.is_dir() for child in train.iterdir()):
        return path, None
    held_out = next((root / name for name in HELD_OUT if (root / name).is_dir()), None)
    return str(train), str(held_out) if held_out else None


def _image_files(folder: Path) -> list[bytes]:
    try:
        with os.scandir(os.fsencode(folder)) as entries:
            extensions = tuple(extension.encode() for extension in EXTENSIONS)
            return sorted(
                entry.name
                for entry in entries
                if entry.name.lower().endswith(extensions) and not entry.name.startswith(b".") and entry.is_file()
            )
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be listed: {error.strerror}") from None
