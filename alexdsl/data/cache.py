"""A folder of the user's for results that take long: arrays in .npz files, written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = 2
"""Part of every name: raise it when the meaning of what is kept changes."""


def root() -> Path:
    """``$ALEXDSL_CACHE``, or ``alexdsl`` in the user's cache folder."""
    own = os.environ.get("ALEXDSL_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "alexdsl"


def name(*parts: object) -> str:
    """A file name for a result that depends on these values (and on nothing else)."""
    return hashlib.blake2b(repr((VERSION, *parts)).encode(), digest_size=16).hexdigest()


def read(kind: str, name: str) -> dict[str, NDArray[np.float64]] | None:
    """What was kept under this name, or none where there is nothing that can be trusted and read."""
    file = root() / kind / f"{name}.npz"
    try:
        if file.stat().st_uid != os.getuid():
            return None
        with file.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            return {key: np.asarray(archive[key], np.float64) for key in archive.files}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile):
        return None


def write(kind: str, name: str, arrays: Mapping[str, NDArray[np.float64]]) -> None:
    """Keep arrays; does nothing where the folder cannot be written, as a cache is never needed."""
    folder = root() / kind
    with contextlib.suppress(OSError):
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                named: dict[str, Any] = dict(arrays)  # for mypy, which takes any name for that of an option
                np.savez(file, **named)
            os.replace(temporary, folder / f"{name}.npz")  # readers see the old file or the new one, never a part
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
