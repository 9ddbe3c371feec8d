"""What is to be prepared or looked over: images named, none opened, of folders of any depth and of list files."""

from __future__ import annotations

import hashlib
import os
import stat
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alexdsl.data.errors import DataError, ImageError
from alexdsl.data.sources import Labels

EXTENSIONS = (b".jpg", b".jpeg", b".png", b".bmp", b".gif", b".webp", b".tif", b".tiff")
"""Files that are meant as images, of whatever kind their bytes prove to be; others are only counted."""
MOST_BYTES = 1 << 28
"""Of one image's file; a larger one is named and skipped, not read."""
MOST_CLASSES = 1_000_000


@dataclass(frozen=True, slots=True)
class Listed:
    """One image: what it is called, its class, and the file, or the part of a file, that holds its bytes."""

    name: str
    label: int
    path: str
    start: int = 0
    size: int | None = None

    def read(self) -> bytes:
        """The bytes. Raises ImageError."""
        try:
            # Not to wait for a writer where a pipe has the name of an image.
            with open(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise ImageError(f"{self.shown} is not a plain file", "unreadable")
                size = status.st_size if self.size is None else self.size
                if size > MOST_BYTES:
                    raise ImageError(f"{self.shown} is a file of {size:,} bytes", "too large")
                file.seek(self.start)
                raw = file.read(size)
        except OSError as error:
            raise ImageError(f"{self.shown} cannot be read: {error.strerror}", "unreadable") from None
        if len(raw) < size:
            raise ImageError(f"{self.shown} ends after {len(raw):,} of {size:,} bytes", "damaged")
        return raw

    @property
    def shown(self) -> str:
        """The name as text for people, with the archive that it is in."""
        name = self.name if self.size is None else f"{self.name} in {self.path}"
        return os.fsencode(name).decode("utf-8", "replace")


class Listing:
    """Images by number. Names are kept in one array of bytes, so that ten million of them take a few hundred MB.

    ``ignored`` counts files that were not taken for images, and ``empty`` names class folders without one; ``words``
    says what classes mean, where that is known.
    """

    def __init__(self, known: Sequence[str] | None = None) -> None:
        self.classes: tuple[str, ...] = () if known is None else tuple(known)
        self._known = known is not None
        self._numbers = {name: number for number, name in enumerate(self.classes)}
        self._labels = array("q")
        self._names, self._ends = bytearray(), array("q")
        self._paths: list[str] = []
        self._path = array("i")
        self._starts, self._sizes = array("q"), array("q")
        self.ignored: Counter[str] = Counter()
        self.empty: list[str] = []
        self.words: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def labels(self) -> Labels:
        """The class of every image: int64 [len]."""
        return np.array(self._labels, np.int64)

    @property
    def found(self) -> list[str]:
        """The classes in the order in which they came up, after those that were known."""
        return list(self._numbers)

    def place(self, path: str) -> int:
        """Make a folder or an archive known; the number to ``add`` its images by."""
        self._paths.append(path)
        return len(self._paths) - 1

    def add(self, place: int, name: bytes, label: str, start: int = -1, size: int = 0) -> None:
        """An image: a file of the folder ``place``, or ``size`` bytes from ``start`` of the archive ``place``."""
        self._labels.append(self._numbers.setdefault(label, len(self._numbers)))
        self._names += name
        self._ends.append(len(self._names))
        self._path.append(place)
        self._starts.append(start)
        self._sizes.append(size)

    def sort_classes(self, order: Iterable[str] | None = None) -> None:
        """Number the classes in order, by name unless it is given. Raises DataError for one that is not known."""
        found = self.found
        if self._known:
            unknown = found[len(self.classes) :]
            if unknown:
                more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
                raise DataError(f"there is a class '{unknown[0]}'{more} that the training images do not have")
            return
        self.classes = tuple(sorted(found) if order is None else order)
        number = {name: number for number, name in enumerate(self.classes)}
        new = np.array([number[name] for name in found], np.int64)
        self._labels = array("q", new[self.labels].tobytes() if len(self) else b"")
        self._numbers = number

    def __getitem__(self, i: int) -> Listed:
        name = os.fsdecode(bytes(self._names[self._ends[i - 1] if i else 0 : self._ends[i]]))
        path, start = self._paths[self._path[i]], self._starts[i]
        if start >= 0:
            return Listed(name, self._labels[i], path, start, self._sizes[i])
        file = os.path.join(path, name)
        return Listed(os.path.relpath(file, self._paths[0]), self._labels[i], file)

    def digest(self) -> str:
        """A text that another set of names or labels does not have."""
        below = [os.path.relpath(path, self._paths[0]) for path in self._paths]  # a tree may move as a whole
        digest = hashlib.blake2b(repr((self.classes, below)).encode(errors="surrogateescape"), digest_size=16)
        for part in (self._names, self._ends, self._labels, self._path, self._starts, self._sizes):
            digest.update(part)
        return digest.hexdigest()


def list_folder(root: Path, depth: int | None = None, known: Sequence[str] | None = None) -> Listing:
    """The images of a tree of class folders, in the order of their paths.

    A class is called by the path of the folder that its images lie in, ``animals/dogs``, or by the first ``depth``
    names of it. Raises DataError where there is no class.
    """
    listing = Listing(known)
    listing.place(str(root))
    for folder, files, leaf in _walk(root):
        chosen = [name for name in files if name.lower().endswith(EXTENSIONS)]
        listing.ignored.update(_ending(name) for name in files if not name.lower().endswith(EXTENSIONS))
        names = folder.split("/") if folder else []
        if not names:
            if chosen:
                listing.ignored["beside the class folders"] += len(chosen)
            continue
        if chosen:
            place = listing.place(os.path.join(root, folder))
            label = "/".join(names[:depth])
            for name in chosen:
                listing.add(place, name, label)
        elif leaf:
            listing.empty.append(folder)
    if not len(listing):
        files_there = sum(listing.ignored.values())
        held = f"holds {files_there:,} files, but no" if files_there else "holds no"
        raise DataError(f"{root} {held} class folder with images; there should be one sub-folder per class")
    listing.sort_classes()
    return listing


def _walk(root: Path) -> Iterator[tuple[str, list[bytes], bool]]:
    """Every folder: its path below ``root``, its sorted files, whether it has no sub-folder. Links are followed, but
    not back up."""
    todo: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
    while todo:
        folder, above = todo.pop()
        path = os.path.join(root, folder)
        files: list[bytes] = []
        folders: list[bytes] = []
        try:
            status = os.stat(path)
            own = (status.st_dev, status.st_ino)
            if own in above:
                continue
            with os.scandir(os.fsencode(path)) as entries:
                for entry in entries:
                    if not entry.name.startswith(b"."):
                        (folders if _is_folder(entry) else files).append(entry.name)
        except FileNotFoundError:
            raise DataError(f"there is no folder {path}") from None
        except OSError as error:
            raise DataError(f"the folder {path} cannot be listed: {error.strerror}") from None
        yield folder, sorted(files), not folders
        prefix = f"{folder}/" if folder else ""
        todo += [(prefix + os.fsdecode(name), (*above, own)) for name in sorted(folders, reverse=True)]


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _ending(name: bytes) -> str:
    ending = os.path.splitext(os.fsdecode(name))[1]
    return ending if ending.isprintable() and ending else "without an ending"


def read_list(file: Path, known: Sequence[str] | None = None) -> Listing:
    """The images of a text file: a path and a label a line, ``path label`` or ``path,label``; ``#`` begins a comment.

    Paths are relative to the list's folder. Labels are names of classes, or all of them whole numbers from 0, as
    Caffe's lists have them. Raises DataError, naming the line.
    """
    listing = Listing(known)
    place = listing.place(str(file.parent))
    try:
        with file.open(encoding="utf-8", errors="surrogateescape") as lines:
            for number, line in enumerate(lines, 1):
                text = line.strip()
                if not text or text.startswith("#"):
                    continue
                path, _, label = text.rpartition(",") if "," in text else _last_blank(text)
                if not path.strip() or not label.strip() or "\0" in text:
                    raise DataError(f"{file}, line {number}: a path and a label are due, not {text[:60]!r}")
                listing.add(place, os.fsencode(path.strip()), label.strip())
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
    if not len(listing):
        raise DataError(f"{file} lists no images; a line is a path and a label")
    listing.sort_classes(None if known is not None else _class_order(listing, file))
    return listing


def _last_blank(text: str) -> tuple[str, str, str]:
    words = text.rsplit(None, 1)
    return (words[0], " ", words[1]) if len(words) == 2 else ("", "", text)


def _class_order(listing: Listing, file: Path) -> list[str] | None:
    """The numbers up to the largest where all labels are numbers, else none."""
    found = listing.found
    if not all(name.isdecimal() and name.isascii() for name in found):
        return None
    largest = max(found, key=lambda name: (len(name.lstrip("0")), name.lstrip("0")))
    if len(largest.lstrip("0")) > len(str(MOST_CLASSES)) or int(largest) >= MOST_CLASSES:
        raise DataError(f"{file} has the label {largest[:20]}; labels count from 0 to {MOST_CLASSES - 1:,} at most")
    if any(name != str(int(name)) for name in found):
        return None
    return [str(number) for number in range(int(largest) + 1)]
