"""What a person may point at, as listings: a tree of class folders, a list file, the ILSVRC archives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from alexdsl.data.errors import DataError
from alexdsl.data.folder import parts
from alexdsl.data.shards.ilsvrc import Archives, find_archives, list_train, list_val, read_kit
from alexdsl.data.shards.listing import Listing, list_folder, read_list


def listings(source: Path, depth: int | None = None) -> Iterator[tuple[str, Listing]]:
    """The images of each part of ``source``, training images first: ("train", ...) and ("val", ...) where it is cut so,
    else one part called "". ``depth`` as ``list_folder`` has it. Raises DataError.
    """
    source = source.expanduser()
    if not source.exists():
        raise DataError(f"there is no folder or file {source}")
    archives = find_archives(source)
    if archives is not None:
        yield from _archived(archives)
        return
    if source.is_file():
        yield "", read_list(source)
        return
    train, held_out = parts(str(source))
    if train == str(source):
        yield "", list_folder(source, depth)
        return
    classes: Sequence[str] | None = None
    for name, folder in (("train", train), ("val", held_out)):
        if folder is not None:
            listing = list_folder(Path(folder), depth, classes)
            classes = listing.classes
            yield name, listing
            del listing


def _archived(archives: Archives) -> Iterator[tuple[str, Listing]]:
    kit = None if archives.kit is None else read_kit(archives.kit)
    if archives.val is not None and kit is None:
        raise DataError(
            f"{archives.val} says nothing of its images' classes: put ILSVRC2012_devkit_t12.tar.gz beside it"
        )
    classes: Sequence[str] | None = None
    if archives.train is not None:
        listing = list_train(archives.train)
        listing.words = {} if kit is None else kit.words
        classes = listing.classes
        yield "train", listing
        del listing
    if archives.val is not None and kit is not None:
        listing = list_val(archives.val, kit, classes)
        listing.words = kit.words
        yield "val", listing
