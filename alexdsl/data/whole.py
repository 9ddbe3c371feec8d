"""Files that are whole or not there, however large: streamed to another name, forced to disk, then renamed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which appears under its name when the block has ended well. Raises OSError, naming the file."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with scratch.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # writing itself does not say where
        raise
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)


def remove_scratch(folder: Path) -> None:
    """Remove what a process that was killed had half written here; none may be writing."""
    for scratch in folder.glob(".*.tmp"):
        scratch.unlink(missing_ok=True)
