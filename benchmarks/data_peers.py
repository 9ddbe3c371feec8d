"""Loaders of the same augmented batches, as peers of ``benchmarks.data``: alexdsl's, and PyTorch's DataLoader."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from time import process_time

import numpy as np

from alexdsl.data.loader import Loader
from alexdsl.data.prepare import Preparer, Slice
from alexdsl.data.resolve import resolve
from alexdsl.data.settings import DataSettings, Folder, Mirror, PcaNoise, RandomCrop, ShorterSide
from alexdsl.data.statistics import statistics
from benchmarks.turns import serve

SIDE, CROP = 256, 227
SETTINGS = DataSettings(
    source=Folder("."),
    resize=ShorterSide(SIDE, square=False),
    crop=CROP,
    augment=(RandomCrop(), Mirror(), PcaNoise(0.1)),
    scale=1 / 64,
)


def alexdsl_turn(folder: Path, batch: int, batches: int, workers: int) -> Callable[[], None]:
    """So many batches of the trainer's own loader."""
    settings = replace(SETTINGS, source=Folder(str(folder)), batch=batch)
    source = resolve(settings).train
    loader = Loader(source, settings, statistics(source, settings), 0, workers=workers)
    steps = count()

    def turn() -> None:
        for step in (next(steps) for _ in range(batches)):
            assert loader.batch(step).images.shape == (batch, 3, CROP, CROP)

    return turn


def cpu_seconds(folder: Path, images: int) -> float:
    """The processor's seconds for an image, prepared in this process."""
    settings = replace(SETTINGS, source=Folder(str(folder)), batch=images)
    source = resolve(settings).train
    preparer = Preparer(source, None, settings, statistics(source, settings), 0)
    out = np.empty((images, *preparer.shape), np.float32)
    part = Slice("train", 0, 0, np.arange(images) % len(source))
    preparer.fill(part, out)
    start = process_time()
    preparer.fill(part, out)
    return (process_time() - start) / images


def torch_turn(folder: Path, batch: int, batches: int, workers: int) -> Callable[[], None]:
    """The same by a DataLoader over what torchvision's ImageFolder, Resize, RandomCrop, RandomHorizontalFlip, ToTensor
    and Normalize do; the colour noise is added to the tensor."""
    import torch
    from torch.utils.data import DataLoader

    from benchmarks.torch_pictures import Pictures

    torch.manual_seed(0)
    loader = DataLoader(
        Pictures(folder, SIDE, CROP), batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True
    )

    def endless() -> Iterator[torch.Tensor]:
        while True:
            yield from (images for images, _ in loader)

    stream = endless()

    def turn() -> None:
        for _ in range(batches):
            assert next(stream).shape == (batch, 3, CROP, CROP)

    return turn


def main() -> None:
    """Serve turns of ``--batches`` batches, or one line with the processor's seconds for an image."""
    parser = argparse.ArgumentParser()
    parser.add_argument("loader", choices=("alexdsl", "torch"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--batches", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    args = parser.parse_args()
    make = alexdsl_turn if args.loader == "alexdsl" else torch_turn
    serve(make(args.folder, args.batch, args.batches, args.workers))


if __name__ == "__main__":
    main()
