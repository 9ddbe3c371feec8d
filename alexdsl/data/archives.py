"""Archives from elsewhere: unpacked inside of one folder, within bounds, wholly or not at all."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from alexdsl.data.errors import DataError

HEADER = 1 << 20
"""Bytes that one header of a member may have, long names and all."""


class _Careful:
    """A file of which little is read at once: tarfile reads names into memory, of whatever length a header claims."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Raises tarfile.ReadError where more is asked for than a header has."""
        if not 0 <= size <= HEADER:
            raise tarfile.ReadError(f"it claims a header of {size:,} bytes")
        return self._file.read(size)


def open_plain(file: IO[bytes]) -> tarfile.TarFile:
    """An archive that is not compressed, to be read in any order. Raises tarfile.TarError, OSError."""
    careful: Any = _Careful(file)
    return tarfile.open(fileobj=careful, mode="r:")


class _Bounded:
    """A stream that ends in an error after so many bytes, whatever a few compressed ones unpack to."""

    def __init__(self, file: IO[bytes], name: Path, most: int) -> None:
        self._file, self._name, self._most, self._left = file, name, most, most

    def read(self, size: int) -> bytes:
        raw = self._file.read(size)
        self._left -= len(raw)
        if self._left < 0:
            raise DataError(f"{self._name} is refused: it would take more than {self._most:,} bytes")
        return raw


@contextmanager
def opened(archive: Path, most: int) -> Iterator[Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]]:
    """The members of a tar file, gzipped or not, in order; ``most``: bytes that it may have when unpacked.

    Raises DataError for an archive that is damaged or has more, before anything of the offending member is read.
    """

    def members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        for member in tar:
            if member.issparse() or member.size > most:
                raise DataError(f"{archive} is refused: {member.name} would take {member.size:,} bytes")
            yield tar, member

    try:
        with archive.open("rb") as file, gzip.GzipFile(fileobj=file) as unzipped:
            plain = file.read(2) != b"\x1f\x8b"
            file.seek(0)
            whole: Any = file if plain else unzipped
            stream: Any = _Bounded(whole, archive, most)
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                yield members(tar)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{archive} cannot be unpacked: {error}") from None


def unpack(archive: Path, folder: Path, most: int) -> None:
    """Unpack an archive whose members lie below ``folder.name`` as that folder, which appears when all is there.

    Members that would lie outside, links that lead outside, and devices are refused (PEP 706's data filter). Raises
    DataError, OSError.
    """
    if not hasattr(tarfile, "data_filter"):
        raise DataError("unpacking archives safely needs Python 3.11.4 or newer")
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        with opened(archive, most) as members:
            for tar, member in members:
                tar.extract(member, scratch, filter="data")
        if not (scratch / folder.name).is_dir():
            raise DataError(f"{archive} holds no folder {folder.name}")
        (scratch / folder.name).rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def read_members(archive: Path, sizes: dict[str, int], most: int) -> dict[str, bytes]:
    """The files of an archive with these names (whatever their folder), each of at most so many bytes. Raises
    DataError."""
    found: dict[str, bytes] = {}
    with opened(archive, most) as members:
        for tar, member in members:
            name = os.path.basename(member.name)
            if name in sizes and member.isreg():
                file = tar.extractfile(member)
                if member.size > sizes[name] or file is None:
                    raise DataError(f"{archive}: {member.name} has {member.size:,} bytes, more than it can have")
                found[name] = file.read()
    missing = [name for name in sizes if name not in found]
    if missing:
        raise DataError(f"{archive} holds no {missing[0]}")
    return found
