"""Published sets of images that can be fetched by name, and what becomes of their files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alexdsl.data.archives import read_members, unpack
from alexdsl.data.download import Remote, fetch
from alexdsl.data.errors import DataError
from alexdsl.files import whole_file

MB = 1_000_000


@dataclass(frozen=True)
class Published:
    """A set: what it is, its files as their authors publish them, and ``finish``, which makes them ready to be read in
    their folder and gives the lines of a data block that read them."""

    what: str
    files: Sequence[Remote]
    finish: Callable[[Path], Sequence[str]]


def get(chosen: Published, folder: Path, progress: Callable[[str, int, int], None]) -> Sequence[str]:
    """Fetch a set into a folder, what is there already excepted; the lines of a data block that read it.

    ``progress``: (file, bytes there, bytes in all). Raises NetworkError, DataError, OSError.
    """
    for remote in chosen.files:

        def tell(done: int, total: int, name: str = remote.name) -> None:
            progress(name, done, total)

        fetch(remote, folder, tell)
    return chosen.finish(folder)


def _fashion(folder: Path) -> Sequence[str]:
    names = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz")
    train, labels, held_out = (folder / name for name in names)
    return (
        f'source = idx("{train}", "{labels}")',
        f'val = idx("{held_out}", "{folder / "t10k-labels-idx1-ubyte.gz"}")',
        "channels = 1",
    )


CIFAR_ROW = 1 + 3 * 32 * 32
"""Bytes of an image in CIFAR-10's binary files: its label, then 32 x 32 bytes each of red, green and blue."""


def _cifar(folder: Path) -> Sequence[str]:
    made = folder / "cifar-10.npz"
    if not made.exists():
        batches = [f"data_batch_{number}.bin" for number in range(1, 6)]
        sizes = {**dict.fromkeys([*batches, "test_batch.bin"], 10_000 * CIFAR_ROW), "batches.meta.txt": 1000}
        raw = read_members(folder / "cifar-10-binary.tar.gz", sizes, 250 * MB)
        if any(len(raw[name]) % CIFAR_ROW for name in [*batches, "test_batch.bin"]):
            raise DataError(f"{folder / 'cifar-10-binary.tar.gz'} does not hold rows of {CIFAR_ROW:,} bytes")
        rows = np.frombuffer(b"".join(raw[name] for name in batches), np.uint8).reshape(-1, CIFAR_ROW)
        val = np.frombuffer(raw["test_batch.bin"], np.uint8).reshape(-1, CIFAR_ROW)
        arrays = {
            "train_images": rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1),
            "train_labels": rows[:, 0],
            "val_images": val[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1),
            "val_labels": val[:, 0],
            "classes": np.array(raw["batches.meta.txt"].decode().split()),
        }
        with whole_file(made) as file:
            np.savez(file, allow_pickle=False, **arrays)
    return (f'source = npz("{made}")',)


def _imagenette(folder: Path) -> Sequence[str]:
    made = folder / "imagenette2-320"
    if not made.exists():
        unpack(folder / "imagenette2-320.tgz", made, 1000 * MB)
    return (f'source = folder("{made}")',)


_ZALANDO = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
SETS = {
    "fashion-mnist": Published(
        "70,000 gray pictures of clothes, 28x28, ten classes (Zalando Research); 31 MB",
        (
            Remote(f"{_ZALANDO}/train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 30 * MB),
            Remote(f"{_ZALANDO}/train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", MB),
            Remote(f"{_ZALANDO}/t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 10 * MB),
            Remote(f"{_ZALANDO}/t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", MB),
        ),
        _fashion,
    ),
    "cifar-10": Published(
        "60,000 colour pictures, 32x32, ten classes (Krizhevsky); 170 MB",
        (
            Remote(
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                "c32a1d4ab5d03f1284b67883e8d87530",
                200 * MB,
            ),
        ),
        _cifar,
    ),
    "imagenette": Published(
        "13,394 photographs, shorter side 320, ten classes of ImageNet (fast.ai); 342 MB",
        (
            Remote(
                "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",
                "3df6f0d01a2c9592104656642f5e78a3",
                500 * MB,
            ),
        ),
        _imagenette,
    ),
}
"""Addresses and MD5 sums as the authors, or torchvision, state them."""
