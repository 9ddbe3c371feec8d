"""Files and folders that are whole or not there: written under another name, forced to disk, then renamed; and where
caches are."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

MOST_JSON = 1 << 26
"""Bytes of a JSON file that is read."""


def cache_folder(*names: str) -> Path:
    """The folder so called of what can be made again, made where it is not there, private to the user (mode 0700).
    ``ALEXDSL_CACHE`` moves all of them. Raises OSError."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("ALEXDSL_CACHE") or Path(caches) / "alexdsl").joinpath(*names)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    return folder


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which appears under its name when the block has ended well; else the old one is still there.
    Raises OSError, naming the file."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with scratch.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        if error.filename in (None, str(scratch)):  # writing itself does not say where
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file in one step as far as anyone can see. Raises OSError; then the old file is still there."""
    with whole_file(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def read_json(path: Path) -> Any:
    """What a JSON file says. Raises OSError, and ValueError where it is no JSON, too large or nested too deep."""
    with path.open("rb") as file:
        raw = file.read(MOST_JSON + 1)
    if len(raw) > MOST_JSON:
        raise ValueError(f"it has more than {MOST_JSON:,} bytes")
    try:
        return json.loads(raw)
    except RecursionError:
        raise ValueError("its lists are nested too deep") from None


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """A folder that appears under its name only when ``fill`` has written all of it and it is on disk."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        fill(scratch)
        for file in scratch.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        sync_folder(scratch)
        remove_folder(path)
        scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Take a folder away, if it is there: first from under its name, so that nobody meets a part of it."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
    with contextlib.suppress(FileNotFoundError):
        path.rename(scratch)
    shutil.rmtree(scratch, ignore_errors=True)


def remove_scratch(folder: Path) -> None:
    """Remove what a process that was killed had half written here; none may be writing."""
    for scratch in folder.glob(".*.tmp"):
        if scratch.is_dir():
            shutil.rmtree(scratch, ignore_errors=True)
        else:
            scratch.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Force a folder's list of names to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
