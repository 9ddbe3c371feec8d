"""Batches of a PyTorch DataLoader that does what torchvision's ImageFolder, Resize, RandomCrop, RandomHorizontalFlip,
ToTensor and Normalize do; the colour noise is added to the tensor."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader

from benchmarks.data import CROP, SIDE, peer_arguments
from benchmarks.peers.torch_pictures import Pictures
from benchmarks.turns import serve


def main() -> None:
    """Serve so many batches at a time."""
    args = peer_arguments()
    torch.manual_seed(0)
    loader = DataLoader(
        Pictures(args.folder, SIDE, CROP), args.batch, shuffle=True, drop_last=True, num_workers=args.workers,
        persistent_workers=True,
    )  # fmt: skip

    def endless() -> Iterator[torch.Tensor]:
        while True:
            yield from (images for images, _ in loader)

    stream = endless()

    def work() -> None:
        for _ in range(args.batches):
            assert next(stream).shape == (args.batch, 3, CROP, CROP)

    serve(work)


if __name__ == "__main__":
    main()
