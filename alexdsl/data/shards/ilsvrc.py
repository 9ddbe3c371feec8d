"""The ILSVRC archives as they are distributed: listed in place, so that nothing is ever unpacked.

The training archive is a tar of one tar per synset, the validation archive a tar of images whose classes stand in the
development kit: ``ILSVRC2012_validation_ground_truth.txt`` holds one ILSVRC2012_ID a line, in the order of the images'
names, and ``meta.mat`` maps those numbers to synsets (the kit's readme.txt).
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

from alexdsl.data.archives import open_plain, read_members
from alexdsl.data.errors import DataError
from alexdsl.data.shards.listing import EXTENSIONS, Listing

KIT_FILE, KIT = 1 << 24, 1 << 26
"""Bytes of a file of the development kit, and of all of it unpacked; the real ones are far below that."""
_TRUTH, _META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"


@dataclass(frozen=True)
class Archives:
    """The files of a folder that holds ILSVRC as it is distributed."""

    train: Path | None
    val: Path | None
    kit: Path | None


@dataclass(frozen=True)
class DevelopmentKit:
    """The development kit: synset and words of every ILSVRC2012_ID, and the IDs of the validation images in order."""

    synsets: dict[int, str]
    words: dict[str, str]
    truth: list[int]


def find_archives(path: Path) -> Archives | None:
    """The archives in a folder, or the one archive that ``path`` is; none where there are none."""
    files = [path] if path.is_file() else sorted(path.glob("*.tar*")) if path.is_dir() else []

    def called(pattern: str) -> Path | None:
        return next((file for file in files if re.search(pattern, file.name)), None)

    found = Archives(called(r"img_train.*\.tar$"), called(r"img_val.*\.tar$"), called(r"devkit.*\.tar(\.gz)?$"))
    return found if found.train or found.val else None


def list_train(archive: Path) -> Listing:
    """The images of the training archive, classes called by their synset IDs and sorted by them. Raises DataError."""
    listing = Listing()
    place = listing.place(str(archive))
    try:
        with archive.open("rb") as raw, open_plain(raw) as outer:
            for synset in _files(outer):
                name = os.path.basename(synset.name)
                if not name.endswith(".tar"):
                    listing.ignored["outside of a synset's archive"] += 1
                    continue
                label = name.removesuffix(".tar")
                with _part(outer, synset) as file, open_plain(file) as inner:
                    for image in _files(inner):
                        _add(listing, place, image, label, synset.offset_data)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DataError(f"{archive} cannot be read as an archive of synsets' archives: {error}") from None
    if not len(listing):
        raise DataError(f"{archive} holds no image; the training archive is a tar of one tar per synset")
    listing.sort_classes()
    return listing


def list_val(archive: Path, kit: DevelopmentKit, known: Sequence[str] | None = None) -> Listing:
    """The images of the validation archive in the order of their names. Raises DataError."""
    try:
        with archive.open("rb") as raw, open_plain(raw) as file:
            images = sorted(
                (os.path.basename(image.name), image.offset_data, image.size)
                for image in _files(file)
                if os.path.splitext(image.name)[1].lower().encode() in EXTENSIONS
            )
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DataError(f"{archive} cannot be read as an archive of images: {error}") from None
    if len(images) != len(kit.truth):
        raise DataError(f"{archive} holds {len(images):,} images, but the kit has {len(kit.truth):,} labels for them")
    listing = Listing(known)
    place = listing.place(str(archive))
    for (name, start, size), number in zip(images, kit.truth, strict=True):
        if number not in kit.synsets:
            raise DataError(f"the kit gives {name} the number {number}, which its meta.mat does not have")
        listing.add(place, os.fsencode(name), kit.synsets[number], start, size)
    listing.sort_classes()
    return listing


def read_kit(archive: Path) -> DevelopmentKit:
    """The development kit of ILSVRC2012, read without unpacking it. Raises DataError."""
    texts = read_members(archive, {_TRUTH: KIT_FILE, _META: KIT_FILE}, KIT)
    try:
        truth = [int(line) for line in texts[_TRUTH].split()]
    except ValueError:
        raise DataError(f"{archive}: {_TRUTH} holds something else than a number a line") from None
    return DevelopmentKit(*_synsets(texts[_META], archive), truth)


def _synsets(raw: bytes, archive: Path) -> tuple[dict[int, str], dict[str, str]]:
    """ILSVRC2012_ID -> WNID of the synsets that images are labelled by (those without children), WNID -> words."""
    from scipy.io import loadmat

    try:
        rows = loadmat(BytesIO(raw), squeeze_me=True, variable_names=["synsets"])["synsets"].reshape(-1)
        leaves = [row for row in rows if int(row["num_children"]) == 0]
        synsets = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in leaves}
        return synsets, {str(row["WNID"]): str(row["words"]) for row in leaves}
    except Exception as error:  # SciPy raises many kinds for files that are none of MATLAB's
        raise DataError(f"{archive}: {_META} is not the table of synsets: {error}") from None


def _files(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The plain files of an archive, one header after another, none of them kept."""
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # or a million headers stay in memory
        if member.isreg() and not member.issparse():
            yield member


def _part(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    assert file is not None  # a plain file
    return file


def _add(listing: Listing, place: int, image: tarfile.TarInfo, label: str, start: int) -> None:
    name = os.path.basename(image.name)
    if os.path.splitext(name)[1].lower().encode(errors="replace") in EXTENSIONS:
        listing.add(place, os.fsencode(f"{label}/{name}"), label, start + image.offset_data, image.size)
    else:
        listing.ignored[os.path.splitext(name)[1] or "without an ending"] += 1
