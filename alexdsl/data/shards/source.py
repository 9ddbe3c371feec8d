"""A prepared set as a source of images: any of them read by its place in the index, whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexdsl.data.errors import DataError
from alexdsl.data.folder import HELD_OUT, TRAIN
from alexdsl.data.shards.index import DESCRIPTION, Description, Index
from alexdsl.data.sources import Image, Labels


class ShardSource:
    """The images of a prepared set, in the order of its shards.

    Travels to loader workers as the folder's name: each maps the index, none copies it.
    """

    def __init__(self, folder: Path, known: Sequence[str] | None = None) -> None:
        """``known``: the classes that the set's are among. Raises DataError."""
        self._index, self._known = Index(folder), known
        own = tuple(self._index.description.classes)
        self.classes = own if known is None else tuple(known)
        self.labels: Labels = self._index.records["label"]
        self.size: tuple[int, int] | None = None
        if not len(self):
            raise DataError(f"{folder} holds no images")
        if int(self.labels.min()) < 0 or int(self.labels.max()) >= len(own):
            raise DataError(f"{folder}: the index has labels that are none of the {len(own):,} classes")
        if own != self.classes:
            number = {name: number for number, name in enumerate(self.classes)}
            unknown = [name for name in own if name not in number]
            if unknown:
                raise DataError(f"{folder} has a class '{unknown[0]}' that the training images do not have")
            self.labels = np.array([number[name] for name in own], np.int64)[self.labels]

    def __reduce__(self) -> tuple[type[ShardSource], tuple[Path, Sequence[str] | None]]:
        return ShardSource, (self._index.folder, self._known)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def description(self) -> str:
        return f"{len(self):,} images of {len(self.classes):,} classes in {self._index.folder}"

    def label(self, i: int) -> int:
        return int(self.labels[i])

    def read(self, i: int, at_least: int | None = None) -> Image:
        # Imported here: who only asks for classes needs nothing that reads images.
        from alexdsl.data.decoding import decode_bytes

        return decode_bytes(self._index.raw(i), self.name(i), at_least)

    def name(self, i: int) -> str:
        return self._index.listed(i).shown

    def fingerprint(self, chosen: NDArray[np.int64]) -> str:
        return hashlib.blake2b(self._index.records["checksum"][chosen].tobytes(), digest_size=16).hexdigest()


def shard_parts(path: str) -> tuple[Path, Path | None]:
    """The set of the training images and that of the held-out ones, where ``path`` is cut into train/ and val/."""
    root = Path(path).expanduser()
    if (root / DESCRIPTION).is_file() or not (root / TRAIN / DESCRIPTION).is_file():
        return root, None
    held_out = (root / name for name in HELD_OUT)
    return root / TRAIN, next((folder for folder in held_out if (folder / DESCRIPTION).is_file()), None)


def shard_classes(path: str) -> Sequence[str]:
    """The classes of a prepared set's training images; reads no index. Raises DataError."""
    return tuple(Description.read(shard_parts(path)[0]).classes)
