"""A whole set: its shards written in processes, what is done never done again, then the index made of their records."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from alexdsl.data.errors import DataError, WorkerError
from alexdsl.data.permutation import permutation
from alexdsl.data.shards.convert import Options
from alexdsl.data.shards.index import DESCRIPTION, INDEX, NAMES, RECORD, SKIPPED, VERSION, Description
from alexdsl.data.shards.listing import Listing
from alexdsl.data.shards.pack import Part, Task, file_sha256, part_path, place_path, read_part, tar_name, write_shard
from alexdsl.data.shards.processes import in_processes
from alexdsl.data.statistics import components
from alexdsl.files import remove_scratch, whole_file

PER_SHARD, SHARDS = 1000, 16
"""Images of a shard, and shards that a set has before they become so large."""
_PLAN = "plan.json"


@dataclass(frozen=True)
class Preparation:
    """What ``prepare`` does and how: images stored by ``options``, so many of them a shard, by so many processes.

    ``strict``: stop at the first image that cannot be used, instead of naming it in skipped.jsonl.
    """

    options: Options
    per_shard: int = PER_SHARD
    processes: int | None = None
    strict: bool = False


def usual_per_shard(images: int) -> int:
    """Images a shard of a set of so many, where nobody says: few of a small set, so that processes can share it and its
    progress shows. The same whatever the machine."""
    return max(1, min(PER_SHARD, -(-images // SHARDS)))


def prepare(
    listing: Listing, folder: Path, how: Preparation, progress: Callable[[int, int], None] | None = None
) -> Description:
    """Write a set of shards, or go on with one that was stopped; the bytes are the same.

    The order is a fixed shuffle of the listing, so that every shard holds a fair sample. ``progress`` is called with
    (images done, images in all). Raises DataError, and OSError where the folder cannot be written.
    """
    if how.strict and listing.empty:
        raise DataError(f"the class folder {listing.empty[0]} holds no image")
    with _alone(folder):
        return _prepare(listing, folder, how, progress or _silent)


def _silent(done: int, total: int) -> None:
    """For those who do not ask for progress."""


def _prepare(listing: Listing, folder: Path, how: Preparation, progress: Callable[[int, int], None]) -> Description:
    plan = {
        "version": VERSION,
        **asdict(how.options),
        "per_shard": how.per_shard,
        "images": len(listing),
        "listing": listing.digest(),
    }
    finished = _begin(folder, plan)
    if finished is not None:
        _check_skipped(folder, finished, how)
        return finished
    count = -(-len(listing) // how.per_shard)
    todo = [number for number in range(count) if not _is_done(folder, number, how)]
    done = len(listing) - sum(_size(listing, how, number) for number in todo)
    progress(done, len(listing))
    tasks = (_task(listing, folder, how, number) for number in todo)
    processes = min(how.processes or len(os.sched_getaffinity(0)), max(1, len(todo)))
    try:
        for images in in_processes(write_shard, tasks, processes):
            done += images
            progress(done, len(listing))
    except WorkerError as error:
        raise WorkerError(f"{error}. {_being_prepared(folder, todo)}") from None
    return _finish(listing, folder, how, count, str(plan["listing"]))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make a folder, with no other preparation at work in it. Raises DataError, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DataError(f"another preparation is at work in {folder}") from None
    finally:
        os.close(handle)


def _begin(folder: Path, plan: dict[str, object]) -> Description | None:
    """Take a folder in use for this plan; its description where all is done."""
    path = folder / _PLAN
    if path.exists():
        found = _read_plan(path)
        changed = [name for name in plan if found.get(name) != plan[name]]
        if changed:
            what = ", ".join(f"{name} {found.get(name)}, not {plan[name]}" for name in changed if name != "listing")
            raise DataError(
                f"{folder} holds a preparation of {what or 'other images'}: remove it, or name another folder"
            )
        if (folder / DESCRIPTION).exists():
            shutil.rmtree(folder / "parts", ignore_errors=True)  # it was stopped while it removed them
            return Description.read(folder)
    elif any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise DataError(f"{folder} holds other things already; name a folder that is empty or not there")
    remove_scratch(folder)
    with whole_file(path) as file:  # first of all files: without it, what is here is somebody else's
        file.write(json.dumps(plan, indent=1).encode())
    (folder / "parts").mkdir(exist_ok=True)
    remove_scratch(folder / "parts")
    return None


def _read_plan(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except ValueError:
        return {}


def _check_skipped(folder: Path, finished: Description, how: Preparation) -> None:
    if how.strict and finished.skipped:
        with (folder / SKIPPED).open(encoding="utf-8") as lines:
            raise DataError(json.loads(lines.readline())["message"])


def _being_prepared(folder: Path, todo: Sequence[int]) -> str:
    """Which images the processes were at."""
    found = [path.read_bytes() for number in todo if (path := place_path(folder, number)).exists()]
    return f"Processes were at {', '.join(name.decode('utf-8', 'replace') for name in found) or 'no image yet'}"


def _is_done(folder: Path, number: int, how: Preparation) -> bool:
    part = read_part(folder, number)
    return part is not None and not (how.strict and part.skipped)


def _size(listing: Listing, how: Preparation, number: int) -> int:
    return min(how.per_shard, len(listing) - number * how.per_shard)


def _task(listing: Listing, folder: Path, how: Preparation, number: int) -> Task:
    first = number * how.per_shard
    places = np.arange(first, first + _size(listing, how, number))
    chosen = permutation(0, 0, len(listing), places, purpose="data/prepare")
    return Task(folder, number, first, [listing[int(i)] for i in chosen], how.options, how.strict)


def _finish(listing: Listing, folder: Path, how: Preparation, count: int, digest: str) -> Description:
    """Make the index of the shards' records, one after another, and describe the set."""
    shards: list[dict[str, object]] = []
    skipped: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    kept = pixels = images = name_end = 0
    values, products = np.zeros(3, object), np.zeros((3, 3), object)
    with whole_file(folder / INDEX) as index, whole_file(folder / NAMES) as names, whole_file(folder / SKIPPED) as odd:
        header = {"descr": np.lib.format.dtype_to_descr(RECORD), "fortran_order": False}
        total = sum(len(_part(folder, number).images) for number in range(count))
        np.lib.format.write_array_header_1_0(index, {**header, "shape": (total,)})
        for number in range(count):
            part = _part(folder, number)
            records = np.zeros(len(part.images), RECORD)
            columns = list(zip(*part.images, strict=True)) or [()] * 7
            for column, name in enumerate(("offset", "size", "label", "height", "width")):
                records[name] = columns[column]
            checksums = b"".join(bytes.fromhex(one) for one in columns[5])
            records["shard"], records["checksum"] = number, np.frombuffer(checksums, np.uint8).reshape(-1, 16)
            encoded = [os.fsencode(name) for name in columns[6]]
            records["name_end"] = name_end + np.cumsum([len(name) for name in encoded], dtype=np.uint64)
            name_end += sum(map(len, encoded))
            names.write(b"".join(encoded))
            index.write(records.tobytes())
            for name, fault, message in part.skipped:
                odd.write(json.dumps({"name": name, "fault": fault, "message": message}).encode() + b"\n")
                skipped[fault] += 1
            shards.append({"file": part.file, "size": part.size, "sha256": part.sha256, "images": len(records)})
            notes.update(part.notes)
            images, kept, pixels = images + len(records), kept + part.kept, pixels + part.pixels
            values, products = values + np.array(part.values, object), products + np.array(part.products, object)
    if not images:
        raise DataError(f"none of the {len(listing):,} images can be used; {folder / SKIPPED} says why")
    mean = np.array([value / pixels for value in values])
    covariance = np.array([[product / pixels for product in row] for row in products]) - np.outer(mean, mean)
    eigenvalues, eigenvectors = components(covariance)
    description = Description(
        listing.classes,
        images,
        len(listing),
        asdict(how.options),
        digest,
        shards,
        kept,
        dict(sorted(skipped.items())),
        dict(sorted(notes.items())),
        dict(sorted(listing.ignored.items())),
        mean.tolist(),
        eigenvalues.tolist(),
        eigenvectors.tolist(),
        {name: file_sha256(folder / name) for name in (INDEX, NAMES, SKIPPED)},
        listing.words,
    )
    description.write(folder)
    shutil.rmtree(folder / "parts", ignore_errors=True)
    return description


def _part(folder: Path, number: int) -> Part:
    part = read_part(folder, number)
    if part is None:
        raise DataError(f"{folder / tar_name(number)} or {part_path(folder, number)} has gone while it was needed")
    return part
