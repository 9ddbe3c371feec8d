"""PyTorch eager AlexNet (two towers as groups = 2): an SGD step on two cores, and the floor our sgemm sets."""

import sys
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.measure.setup import np
from benchmarks.measure.timing import compare, table

GFLOP_PER_IMAGE = 4.13  # forward and backward


def alexnet() -> nn.Sequential:
    def lrn() -> nn.Module:
        return nn.LocalResponseNorm(5, 5e-4, 0.75, 2)

    return nn.Sequential(
        nn.Conv2d(3, 96, 11, 4),
        nn.ReLU(),
        lrn(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2),
        nn.ReLU(),
        lrn(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Flatten(),
        nn.Linear(9216, 4096),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(4096, 1000),
    )


def step(images: int, channels_last: bool) -> Callable[[], None]:
    form = torch.channels_last if channels_last else torch.contiguous_format
    net = alexnet().to(memory_format=form)
    solver = torch.optim.SGD(net.parameters(), 1e-4, 0.9, weight_decay=5e-4)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((images, 3, 227, 227), dtype=np.float32)).contiguous(memory_format=form)
    label = torch.from_numpy(rng.integers(0, 1000, images))
    loss = nn.CrossEntropyLoss()

    def run() -> None:
        solver.zero_grad()
        loss(net(x), label).backward()
        solver.step()

    return run


if __name__ == "__main__":
    torch.manual_seed(0)
    sgemm = float(sys.argv[1]) if len(sys.argv) > 1 else 300.0
    rows = []
    for images in (32, 128):
        times = compare({form: step(images, form == "channels_last") for form in ("NCHW", "channels_last")}, 3.0, 3)
        rows += [[f"torch eager {form}, batch {images}", t, images / t] for form, t in times.items()]
        rows.append(
            [f"floor at {sgemm:.0f} GFLOP/s, batch {images}", images * GFLOP_PER_IMAGE / sgemm, sgemm / GFLOP_PER_IMAGE]
        )
    table(["step", "s", "images/s"], rows)
