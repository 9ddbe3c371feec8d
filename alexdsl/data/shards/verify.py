"""A set looked over: images that cannot be read, are not what was stored, are there twice, or are called by another
class than theirs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from alexdsl.data.errors import ImageError
from alexdsl.data.shards.index import DESCRIPTION, Index, checksum
from alexdsl.data.shards.inputs import listings
from alexdsl.data.shards.listing import Listed, Listing
from alexdsl.data.shards.pack import file_sha256
from alexdsl.data.shards.processes import in_processes
from alexdsl.data.shards.source import shard_parts

CHUNK = 250
"""Images that a process looks at before it answers."""
What: TypeAlias = Literal["unusable", "changed", "duplicate", "misnamed"]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: its sort, and a sentence that names the image or file."""

    what: What
    message: str


@dataclass(frozen=True)
class Part:
    """One part of a set: its images by number, its classes, their checksums where those are known, its files' SHA-256
    where those are."""

    name: str
    images: Index | Listing
    classes: Sequence[str]
    checksums: NDArray[np.uint8] | None
    files: Mapping[Path, str]

    def image(self, i: int) -> Listed:
        """Raises DataError."""
        return self.images.listed(i) if isinstance(self.images, Index) else self.images[i]


@dataclass(frozen=True)
class Task:
    """Images to look at, with the checksums that they should have."""

    images: Sequence[Listed]
    checksums: Sequence[bytes] | None


def open_parts(path: Path, depth: int | None = None) -> list[Part]:
    """The parts of a prepared set, or of whatever can be prepared, training images first. Raises DataError."""
    folder, held_out = shard_parts(str(path))
    if not (folder / DESCRIPTION).is_file():
        return [Part(name, listing, listing.classes, None, {}) for name, listing in listings(path, depth)]
    parts = []
    for name, where in (("train" if held_out else "", folder), ("val", held_out)):
        if where is not None:
            index = Index(where)
            made = index.description
            files = {where / file: sha for file, sha in made.files.items()}
            files |= {Path(file): str(shard["sha256"]) for file, shard in zip(index.files, made.shards, strict=True)}
            parts.append(Part(name, index, tuple(made.classes), index.records["checksum"], files))
    return parts


def verify(
    parts: Sequence[Part], processes: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Iterator[Finding]:
    """All that is wrong with a set: files, then images in order, then duplicates over all parts.

    An image is there twice where another has the same pixels. Sixteen bytes an image are held in memory. ``progress``
    is called with (images looked at, images in all). Raises DataError where the set cannot be looked at.
    """
    total, done = sum(len(part.images) for part in parts), 0
    hashes = np.zeros((total, 2), np.uint64)
    for part in parts:
        yield from _files(part)
        names = class_names(part.classes)
        for digests, findings in in_processes(_look, _tasks(part), processes):
            hashes[done : done + len(digests)] = digests
            done += len(digests)
            yield from findings
            if progress is not None:
                progress(done, total)
        for i in range(len(part.images)):
            image = part.image(i)
            other = called(image.name, names)
            if other is not None and other != image.label:
                own = part.classes[image.label]
                message = f"{image.shown} is of class '{own}' but is called as '{part.classes[other]}' are"
                yield Finding("misnamed", message)
    for group in duplicates(hashes):
        yield _same(parts, group)


def _files(part: Part) -> Iterator[Finding]:
    for path, sha256 in part.files.items():
        try:
            if file_sha256(path) != sha256:
                yield Finding("changed", f"{path} is not what was written: its SHA-256 differs")
        except OSError as error:
            yield Finding("changed", f"{path} cannot be read: {error.strerror}")


def _tasks(part: Part) -> Iterator[Task]:
    for start in range(0, len(part.images), CHUNK):
        chosen = range(start, min(start + CHUNK, len(part.images)))
        due = None if part.checksums is None else [part.checksums[i].tobytes() for i in chosen]
        yield Task([part.image(i) for i in chosen], due)


def _look(task: Task) -> tuple[NDArray[np.uint64], list[Finding]]:
    """Hashes of the images' pixels [n, 2], zero for one that cannot be had, and what is wrong."""
    from alexdsl.data.decoding import decode_bytes

    digests = np.zeros((len(task.images), 2), np.uint64)
    findings = []
    for i, image in enumerate(task.images):
        try:
            raw = image.read()
            if task.checksums is not None and checksum(raw) != task.checksums[i]:
                findings.append(Finding("changed", f"{image.shown} is not what was stored: its checksum differs"))
                continue
            pixels = decode_bytes(raw, image.shown)
        except ImageError as error:
            findings.append(Finding("unusable", f"{error} ({error.fault})"))
            continue
        digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
        digest.update(pixels.tobytes())
        digests[i] = np.frombuffer(digest.digest(), np.uint64)
    return digests, findings


def duplicates(hashes: NDArray[np.uint64]) -> list[NDArray[np.int64]]:
    """Groups of two or more rows that are equal and not zero, each in order, by their first."""
    order = np.lexsort((np.arange(len(hashes)), hashes[:, 1], hashes[:, 0]))
    ranked = hashes[order]
    new = np.ones(len(order), bool)
    new[1:] = (ranked[1:] != ranked[:-1]).any(1)
    starts = np.flatnonzero(new)
    ends = np.append(starts, len(order))[1:]
    groups = [order[a:b] for a, b in zip(starts, ends, strict=True) if b - a > 1 and ranked[a].any()]
    return sorted(groups, key=lambda group: int(group[0]))


def _same(parts: Sequence[Part], group: NDArray[np.int64]) -> Finding:
    where, images = set(), []
    ends = np.cumsum([len(part.images) for part in parts])
    for i in group[:100]:
        number = int(np.searchsorted(ends, i, "right"))
        part = parts[number]
        image = part.image(int(i) - (int(ends[number - 1]) if number else 0))
        where.add((part.name, part.classes[image.label]))
        images.append(image.shown if not part.name else f"{part.name}: {image.shown}")
    notes = []
    if len({name for name, _ in where}) > 1:
        notes.append("in training and held-out images")
    if len({label for _, label in where}) > 1:
        notes.append("in different classes")
    more = f" and {len(group) - 3:,} more" if len(group) > 3 else ""
    text = f"the same picture{' ' * bool(notes)}{' and '.join(notes)}: {' = '.join(images[:3])}{more}"
    return Finding("duplicate", text)


def class_names(classes: Sequence[str]) -> dict[str, int]:
    """What a file's name may begin with to say a class: the last name of each class's path, where no other class has
    it, and where it has a letter and is no letter alone."""
    found: dict[str, int] = {}
    twice = set()
    for number, name in enumerate(classes):
        last = name.rpartition("/")[2].lower()
        if last in found:
            twice.add(last)
        if len(last) > 1 and any(letter.isalpha() for letter in last):
            found[last] = number
    return {name: number for name, number in found.items() if name not in twice}


def called(name: str, names: Mapping[str, int]) -> int | None:
    """The class that a file's name begins with, the longest, if it ends there: ``cat.3.jpg``, ``n01440764_10.JPEG``."""
    stem = os.path.splitext(os.path.basename(name))[0].lower()
    for end in range(len(stem), 1, -1):
        label = names.get(stem[:end])
        rest = stem[end : end + 1]
        if label is not None and not rest.isalpha() and not (rest.isdigit() and stem[end - 1].isdigit()):
            return label
    return None
