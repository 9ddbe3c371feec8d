"""Files from the network: gone on with where a download stopped, kept only where their checksum is the published."""

from __future__ import annotations

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alexdsl.data.errors import DataError

CHUNK = 1 << 18
TIMEOUT = 30.0
"""Seconds without a byte after which a connection is given up."""
TRIES = 5
"""Connections in a row that bring nothing new."""


class NetworkError(DataError):
    """A file cannot be fetched; the message says what to do."""


@dataclass(frozen=True)
class Remote:
    """A published file: its address, its MD5 as its authors give it, and a number of bytes that it does not exceed."""

    url: str
    md5: str
    most: int

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rpartition("/")[2]


def fetch(remote: Remote, folder: Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """The file, in ``folder``; nothing is fetched where it is there already. ``progress``: (bytes there, bytes in all).

    Raises NetworkError where it cannot be had, DataError where it is not what was published, OSError.
    """
    path = folder / remote.name
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        if _md5(path) == remote.md5:
            return path
        raise DataError(f"{path} is there, but is not what was published (its MD5 differs): remove it")
    part = path.with_name(f"{path.name}.part")
    idle = 0
    while idle < TRIES:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _more(remote, part, before, progress):
                break
            reason = "the connection ended early"
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.filename and not isinstance(error, urllib.error.URLError):
                raise  # the disk's fault, not the network's
            reason = str(getattr(error, "reason", "") or error or type(error).__name__)
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                idle = TRIES
        idle = 0 if part.exists() and part.stat().st_size > before else idle + 1
    else:
        raise NetworkError(
            f"{remote.url} cannot be fetched: {reason}. With a network, start this again and it goes on; without one, "
            f"fetch that file elsewhere and put it at {path}"
        )
    if _md5(part) != remote.md5:
        part.unlink()
        raise DataError(
            f"{remote.url} gave another file than was published (its MD5 differs); it was removed: try again"
        )
    part.replace(path)
    return path


def _more(remote: Remote, part: Path, start: int, progress: Callable[[int, int], None] | None) -> bool:
    """Fetch what is missing after ``start`` bytes; whether that was all of it."""
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing after these bytes: all are there, or more than all
            error.close()
            if _md5(part) != remote.md5:
                part.unlink()
                return False
            return True
        raise
    with answer:
        if answer.status != 206 or _first(answer.headers.get("Content-Range", "")) != start:
            start = 0  # the server sends all of it
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else 0
        done = start
        with part.open("r+b" if part.exists() else "wb") as file:
            file.truncate(start)
            file.seek(start)
            while raw := answer.read1(CHUNK):
                done += len(raw)
                if done > remote.most:
                    raise DataError(f"{remote.url} is larger than the {remote.most:,} bytes that it can have")
                file.write(raw)
                if progress is not None:
                    progress(done, max(total, done))
    return not total or done >= total


def _first(content_range: str) -> int | None:
    found = re.match(r"bytes (\d{1,18})-", content_range)
    return int(found[1]) if found else None


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)  # what the authors of these sets publish
    with path.open("rb") as file:
        while raw := file.read(1 << 20):
            digest.update(raw)
    return digest.hexdigest()
