"""Where labelled images come from: the protocol, and images held in arrays (IDX, NPZ, the sample)."""

from __future__ import annotations

import gzip
import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alexdsl.data.errors import DataError

Image = NDArray[np.uint8]
Labels = NDArray[np.int64]

SAMPLES = Path(__file__).with_name("samples")


class Source(Protocol):
    """Labelled images by number. Sources travel to loader workers by pickle."""

    @property
    def labels(self) -> Labels:
        """The class of every image: int64 [len]."""

    @property
    def classes(self) -> Sequence[str]:
        """The classes' names; a label counts into them."""

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) where all images share it, else none."""

    @property
    def description(self) -> str:
        """How many images of what, from where."""

    def __len__(self) -> int: ...

    def label(self, i: int) -> int: ...

    def read(self, i: int, at_least: int | None = None) -> Image:
        """Image i, decoded: uint8 [height, width, 1 or 3]; gray ones keep their one channel.

        ``at_least``: a picture whose shorter side has this many pixels is enough. Raises DataError.
        """

    def name(self, i: int) -> str:
        """What to call image i in a message."""

    def fingerprint(self, chosen: NDArray[np.int64]) -> str:
        """A text that changes when one of these images may have; decodes nothing."""


class ArraySource:
    """Images in one array: uint8 [n, height, width, 1 or 3]."""

    def __init__(self, images: Image, labels: Labels, classes: Sequence[str], origin: str) -> None:
        self.images, self.labels, self.classes, self.origin = images, labels, tuple(classes), origin

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int] | None:
        return self.images.shape[1], self.images.shape[2]

    @property
    def description(self) -> str:
        return f"{len(self):,} images of {len(self.classes)} classes from {self.origin}"

    def label(self, i: int) -> int:
        return int(self.labels[i])

    def read(self, i: int, at_least: int | None = None) -> Image:
        return np.asarray(self.images[i])

    def name(self, i: int) -> str:
        return f"image {i} of {self.origin}"

    def fingerprint(self, chosen: NDArray[np.int64]) -> str:
        digest = hashlib.blake2b(repr(self.images.shape).encode(), digest_size=16)
        for i in chosen:
            digest.update(self.images[i].tobytes())
        return digest.hexdigest()


class Subset:
    """Some of a source's images, by their numbers in it."""

    def __init__(self, source: Source, chosen: NDArray[np.int64], description: str) -> None:
        self.source, self.chosen, self.description = source, chosen, description
        self.labels: Labels = source.labels[chosen]
        self.classes = source.classes
        self.size = source.size

    def __len__(self) -> int:
        return len(self.chosen)

    def label(self, i: int) -> int:
        return int(self.labels[i])

    def read(self, i: int, at_least: int | None = None) -> Image:
        return self.source.read(int(self.chosen[i]), at_least)

    def name(self, i: int) -> str:
        return self.source.name(int(self.chosen[i]))

    def fingerprint(self, chosen: NDArray[np.int64]) -> str:
        return self.source.fingerprint(self.chosen[chosen])


def array_source(
    images: NDArray[np.generic], labels: NDArray[np.generic], classes: Sequence[str] | None, origin: str
) -> ArraySource:
    """Checked arrays as a source; images [n, h, w], [n, h, w, c] or [n, c, h, w] of uint8. Raises DataError."""
    labels = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if images.dtype != np.uint8:
        raise DataError(f"the images of {origin} are {images.dtype}, not uint8 (bytes of 0..255)")
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(
            f"the labels of {origin} are {labels.dtype}{list(labels.shape)}, not one whole number per image"
        )
    if images.ndim == 3:
        images = images[..., None]
    elif images.ndim == 4 and images.shape[3] not in (1, 3) and images.shape[1] in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape[1:]:
        raise DataError(
            f"the images of {origin} have shape {list(images.shape)}, not [n, height, width] or [n, height, width, 3]"
        )
    if len(images) != len(labels):
        raise DataError(f"{origin} holds {len(images):,} images but {len(labels):,} labels")
    if not len(images):
        raise DataError(f"{origin} holds no images")
    count = class_count(labels, origin)
    if classes is not None and count > len(classes):
        raise DataError(f"{origin} names {len(classes)} classes but has label {count - 1} (labels count from 0)")
    return ArraySource(
        images.view(np.uint8),
        labels.astype(np.int64),
        classes if classes is not None else [str(i) for i in range(count)],
        origin,
    )


def class_count(labels: NDArray[np.generic], origin: str) -> int:
    """One more than the largest label. Raises DataError when a label is negative."""
    if int(labels.min()) < 0:
        raise DataError(f"{origin} has the label {int(labels.min())}; labels count from 0")
    return int(labels.max()) + 1


def read_idx(path: str, dimensions: tuple[int, ...]) -> Image:
    """The bytes of an IDX file, gzipped or not, which must have one of these numbers of dimensions. Raises DataError.

    Format: 0, 0, the type (8: unsigned bytes), the number of dimensions, each size as a big-endian int32, the data
    (LeCun, Cortes, Burges, "The MNIST database").
    """
    raw = _unzipped(_existing(path))
    if len(raw) < 4 or raw[:2] != b"\0\0":
        raise DataError(f"{path} is not an IDX file: it begins with {raw[:4].hex(' ') or 'nothing'}, not with 00 00")
    if raw[2] != 8:
        raise DataError(f"{path} holds IDX data of type 0x{raw[2]:02x}; only unsigned bytes (0x08) are read")
    if raw[3] not in dimensions:
        expected = " or ".join(map(str, dimensions))
        raise DataError(f"{path} has {raw[3]} dimensions, not {expected}; are images and labels in the right order?")
    start = 4 + 4 * raw[3]
    shape = [int.from_bytes(raw[at : at + 4], "big") for at in range(4, start, 4)]
    expected_bytes = int(np.prod(shape, dtype=object))
    if len(raw) - start != expected_bytes:
        raise DataError(f"{path} should hold {shape}, {expected_bytes:,} bytes, but holds {max(len(raw) - start, 0):,}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def read_npz(path: str, names: Sequence[str]) -> dict[str, NDArray[np.generic]]:
    """Those of the named arrays that an .npz file holds; nothing is unpickled. Raises DataError."""
    file = _existing(path)
    try:
        with file.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise DataError(f"{path} holds a single array, not an .npz archive of images and labels")
            return {name: archive[name] for name in names if name in archive.files}
    except (
        ValueError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        AttributeError,
    ) as error:
        raise DataError(f"{path} cannot be read as an .npz archive: {str(error).splitlines()[0]}") from None


def _existing(path: str) -> Path:
    file = Path(path).expanduser()
    if not file.exists() and file.with_name(file.name + ".gz").exists():
        file = file.with_name(file.name + ".gz")
    if not file.is_file():
        raise DataError(f"there is no file {path}")
    return file


def _unzipped(file: Path) -> bytes:
    try:
        raw = file.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} cannot be read: {error}") from None
