"""Rebuild fashion.npz, the sample trained on when no ImageNet is at hand, from Debian's dataset-fashion-mnist."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
TRAIN_PER_CLASS = 800  # 8,000 images: one epoch is 250 steps of 32
VAL_PER_CLASS = 150
SIDE = 28
SHA256 = "014369064dc023d2af4bbf3c23c6fffb61a0cea14441519c7a0988037d1e7289"  # of the file this script writes


def read_idx(path: Path) -> Bytes:
    """An IDX file of bytes: 0, 0, type (8: uint8), number of dimensions, each as a big-endian int32, the data."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\0\0\x08":
        raise ValueError(f"{path}: not an IDX file of bytes")
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(tuple(int(n) for n in shape))


def balanced(labels: Bytes, per_class: int) -> NDArray[np.intp]:
    """The first images of each class, dealt round the classes, so that every prefix is balanced too."""
    return np.stack([np.flatnonzero(labels == c)[:per_class] for c in range(len(CLASSES))], axis=1).ravel()


def sample(folder: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays: training images from the package's training files, held-out ones from its t10k files."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, stem, per_class in (("train", "train", TRAIN_PER_CLASS), ("val", "t10k", VAL_PER_CLASS)):
        images = read_idx(folder / f"{stem}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{stem}-labels-idx1-ubyte.gz")
        if images.shape != (len(labels), SIDE, SIDE):
            raise ValueError(f"{folder}: {stem} holds images of shape {images.shape} and {len(labels)} labels")
        chosen = balanced(labels, per_class)
        arrays[f"{name}_images"], arrays[f"{name}_labels"] = images[chosen], labels[chosen]
    return {**arrays, "classes": np.array(CLASSES)}


def pack(arrays: dict[str, NDArray[np.generic]]) -> bytes:
    """An .npz that numpy.load reads; bzip2, as its encoder has one output everywhere (deflate's differs by library)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3  # as on Unix, wherever this runs
            member.external_attr = 0o644 << 16
            member.compress_type = zipfile.ZIP_BZIP2
            npy = io.BytesIO()
            np.lib.format.write_array(npy, array, version=(1, 0), allow_pickle=False)
            archive.writestr(member, npy.getvalue(), compresslevel=9)
    return file.getvalue()


def main() -> None:
    """Write the sample and say whether it is the one that is kept in the repository."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the package's usr/share/datasets/fashion-mnist")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("fashion.npz"))
    arguments = parser.parse_args()
    packed = pack(sample(arguments.folder))
    arguments.out.write_bytes(packed)
    digest = hashlib.sha256(packed).hexdigest()
    print(f"{arguments.out}: {len(packed):,} bytes, sha256 {digest}")
    if digest != SHA256:
        raise SystemExit(f"expected sha256 {SHA256}")


if __name__ == "__main__":
    main()
