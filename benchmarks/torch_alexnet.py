"""AlexNet in PyTorch, eager, as a peer of ``benchmarks.train``: the layers and the recipe of specs/alexnet.net."""

from __future__ import annotations

import argparse

import torch
from torch import nn

from benchmarks.turns import serve


def alexnet(classes: int) -> nn.Sequential:
    """Groups for towers, LRN by PyTorch's mean convention with the paper's sum (alpha times size)."""
    lrn = [nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0) for _ in range(2)]
    return nn.Sequential(
        nn.Conv2d(3, 96, 11, 4), nn.ReLU(), lrn[0], nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), lrn[1], nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(),
        nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(4096, classes),
    )  # fmt: skip


def main() -> None:
    """Serve turns of ``--steps`` training steps on random images."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--layout", choices=("nchw", "nhwc"), default="nchw")
    args = parser.parse_args()
    torch.manual_seed(0)
    net = alexnet(1000)
    images = torch.randn(args.batch, 3, 227, 227) * 70
    if args.layout == "nhwc":
        net, images = net.to(memory_format=torch.channels_last), images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (args.batch,))
    solver = torch.optim.SGD(net.parameters(), lr=1e-5, momentum=0.9, weight_decay=5e-4)

    def turn() -> None:
        for _ in range(args.steps):
            solver.zero_grad()
            nn.functional.cross_entropy(net(images), labels).backward()
            solver.step()

    serve(turn)


if __name__ == "__main__":
    main()
