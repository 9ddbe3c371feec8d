"""The files of a prepared set, beside its shards: the index of all images, their names, and the set's description."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexdsl.data.errors import DataError, ImageError
from alexdsl.data.shards.listing import MOST_BYTES, Listed
from alexdsl.files import whole_file

VERSION = 1
DESCRIPTION, INDEX, NAMES, SKIPPED = "dataset.json", "index.npy", "names.bin", "skipped.jsonl"
RECORD = np.dtype(
    [
        ("offset", "<u8"),
        ("name_end", "<u8"),
        ("label", "<i8"),
        ("shard", "<u4"),
        ("size", "<u4"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("checksum", "u1", (16,)),
    ]
)
"""An image: where its JPEG file lies in its shard, where its name ends in names.bin, its class, its size in bytes and
pixels, and BLAKE2b of its bytes."""
_MOST_DESCRIPTION = 1 << 28


def checksum(raw: bytes) -> bytes:
    """What the index keeps of an image's bytes."""
    return hashlib.blake2b(raw, digest_size=16).digest()


@dataclass(frozen=True)
class Description:
    """What a prepared set is: ``dataset.json``.

    ``found`` images were listed; ``images`` are stored, the others counted in ``skipped`` by their fault. ``notes``
    counts what was odd about stored ones. ``mean`` and the principal components are of all stored pixels, 0..255.
    """

    classes: Sequence[str]
    images: int
    found: int
    options: Mapping[str, Any]
    listing: str
    shards: Sequence[Mapping[str, Any]]
    kept: int
    skipped: Mapping[str, int]
    notes: Mapping[str, int]
    ignored: Mapping[str, int]
    mean: Sequence[float]
    eigenvalues: Sequence[float]
    eigenvectors: Sequence[Sequence[float]]
    files: Mapping[str, str]
    """SHA-256 of the other files beside the shards."""
    words: Mapping[str, str] = field(default_factory=dict)
    version: int = VERSION

    def write(self, folder: Path) -> None:
        """Write it, last of all files. Raises OSError."""
        with whole_file(folder / DESCRIPTION) as file:
            file.write(json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def read(cls, folder: Path) -> Description:
        """A folder's. Raises DataError."""
        path = folder / DESCRIPTION
        try:
            if path.stat().st_size > _MOST_DESCRIPTION:
                raise DataError(f"{path} is too large to describe a set")
            found = json.loads(path.read_text(encoding="utf-8"))
            if found.get("version") != VERSION:
                raise DataError(f"{path} is of version {found.get('version')}; this alexdsl reads {VERSION}")
            description = cls(**found)
            tuple(str(shard["file"]) for shard in description.shards)
            return description
        except FileNotFoundError:
            raise DataError(
                f"{folder} holds no prepared set: there is no {DESCRIPTION} (alexdsl data prepare SRC {folder})"
            ) from None
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise DataError(f"{path} does not describe a prepared set: {error}") from None


class Index:
    """A prepared set's images by number: arrays in files that are mapped, not read, so that any number of them takes
    no memory of this process's own, and processes share it."""

    def __init__(self, folder: Path) -> None:
        """Raises DataError."""
        self.folder, self.description = folder, Description.read(folder)
        try:
            self.records: NDArray[np.void] = np.load(folder / INDEX, mmap_mode="r", allow_pickle=False)
            self._names = np.memmap(folder / NAMES, np.uint8, "r")
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{folder}: the index cannot be read: {error}") from None
        if self.records.dtype != RECORD or self.records.shape != (self.description.images,):
            raise DataError(f"{folder / INDEX} is not the index of {self.description.images:,} images")
        self.files = [str(folder / os.path.basename(str(shard["file"]))) for shard in self.description.shards]

    def __len__(self) -> int:
        return len(self.records)

    def name(self, i: int) -> str:
        """What image i was called before."""
        start = int(self.records["name_end"][i - 1]) if i else 0
        return os.fsdecode(self._names[start : int(self.records["name_end"][i])].tobytes())

    def listed(self, i: int) -> Listed:
        """Where image i lies. Raises DataError."""
        record = self.records[i]
        if record["shard"] >= len(self.files) or record["size"] > MOST_BYTES:
            raise DataError(f"{self.folder / INDEX} is damaged at image {i}")
        place = int(record["offset"]), int(record["size"])
        return Listed(self.name(i), int(record["label"]), self.files[record["shard"]], *place)

    def raw(self, i: int) -> bytes:
        """The bytes of image i, which are those that were stored. Raises ImageError."""
        listed = self.listed(i)
        raw = listed.read()
        if checksum(raw) != self.records["checksum"][i].tobytes():
            raise ImageError(f"{listed.shown} is not what was stored: its checksum differs")
        return raw
