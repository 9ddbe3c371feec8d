"""One shard: a run of images converted and written to a tar file, with a record of what became of each."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from alexdsl.data.errors import ImageError
from alexdsl.data.shards.convert import Options, convert
from alexdsl.data.shards.index import checksum
from alexdsl.data.shards.listing import Listed
from alexdsl.data.statistics import colour_sums
from alexdsl.files import whole_file

BLOCK = 512
"""Bytes of a tar file's header."""


@dataclass(frozen=True, slots=True)
class Task:
    """Images ``first`` and following of the order of preparation, to be written as shard ``number``."""

    folder: Path
    number: int
    first: int
    images: Sequence[Listed]
    options: Options
    strict: bool


@dataclass(frozen=True)
class Part:
    """A finished shard. ``images``: of each stored one offset, size, label, height, width, checksum and name, in the
    order of the tar file; ``skipped``: of each other one name, fault and message; sums of pixels, exact."""

    file: str
    size: int
    sha256: str
    images: Sequence[Sequence[Any]]
    skipped: Sequence[Sequence[str]]
    notes: dict[str, int]
    kept: int
    pixels: int
    values: Sequence[int]
    products: Sequence[Sequence[int]]


def tar_name(number: int) -> str:
    """A shard's file."""
    return f"shard-{number:06d}.tar"


def part_path(folder: Path, number: int) -> Path:
    """Where the record of a finished shard lies until the whole set is finished."""
    return folder / "parts" / f"{number:06d}.json"


def place_path(folder: Path, number: int) -> Path:
    """Where the process that makes a shard says which image it is at, for the case that the image ends it."""
    return folder / "parts" / f".{number:06d}.at.tmp"


def read_part(folder: Path, number: int) -> Part | None:
    """A finished shard's record; none where the shard is not there or not finished."""
    try:
        part = Part(**json.loads(part_path(folder, number).read_text(encoding="utf-8")))
        return part if (folder / part.file).stat().st_size == part.size else None
    except (OSError, ValueError, TypeError):
        return None


def write_shard(task: Task) -> int:
    """Convert and write the images; how many they were. Raises OSError, and where ``strict`` ImageError."""
    images: list[Sequence[Any]] = []
    skipped: list[Sequence[str]] = []
    notes: Counter[str] = Counter()
    kept = pixels = 0
    values, products = [0] * 3, [[0] * 3 for _ in range(3)]
    path, whereabouts = task.folder / tar_name(task.number), place_path(task.folder, task.number)
    with whole_file(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as shard:
        for place, image in enumerate(task.images):
            whereabouts.write_bytes(os.fsencode(image.shown))
            try:
                done = convert(image.read(), image.shown, task.options)
            except ImageError as error:
                if task.strict:
                    raise
                skipped.append((image.name, error.fault, str(error)))
                continue
            key = f"{task.first + place:09d}"
            height, width = done.pixels.shape[:2]
            at = shard.offset + BLOCK
            images.append((at, len(done.raw), image.label, height, width, checksum(done.raw).hex(), image.name))
            _add(shard, f"{key}.jpg", done.raw)
            _add(shard, f"{key}.cls", str(image.label).encode())
            notes.update(done.notes)
            kept += done.kept
            count, value, product = colour_sums(done.pixels, 3)
            pixels += count
            values = [a + int(b) for a, b in zip(values, value, strict=True)]
            products = [
                [a + int(b) for a, b in zip(*rows, strict=True)] for rows in zip(products, product, strict=True)
            ]
        shard.close()
        size = file.tell()
        file.seek(0)
        digest = sha256(file)
    part = Part(path.name, size, digest, images, skipped, dict(notes), kept, pixels, values, products)
    with whole_file(part_path(task.folder, task.number)) as record:
        record.write(json.dumps(asdict(part)).encode())
    whereabouts.unlink(missing_ok=True)
    return len(task.images)


def _add(shard: tarfile.TarFile, name: str, raw: bytes) -> None:
    member = tarfile.TarInfo(name)  # of nobody and of no time, so that the same images give the same bytes
    member.size, member.mode = len(raw), 0o644
    shard.addfile(member, BytesIO(raw))


def sha256(file: IO[bytes]) -> str:
    """Of the rest of an open file. Raises OSError."""
    digest = hashlib.sha256()
    while raw := file.read(1 << 20):
        digest.update(raw)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Of a file by its name. Raises OSError."""
    with path.open("rb") as file:
        return sha256(file)
