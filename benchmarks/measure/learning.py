"""Learning curves of AlexNet on the embedded sample, in PyTorch: which recipe learns from the fewest images?"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLE = Path(__file__).parents[2] / "alexdsl" / "data" / "samples" / "fashion.npz"
RESIZE, CROP = 256, 227
TOWERS = 2
BIASED = ("conv2", "conv4", "conv5", "fc6", "fc7")  # the layers whose biases the paper starts at 1

# Standard deviations of the initial weights, by the first part of a layer's name; None is he: sqrt(2 / fan-in).
INITS: dict[str, dict[str, float | None]] = {
    "paper": {"conv": 0.01, "fc": 0.01},
    "code": {"conv1": 0.01, "conv2": 0.01, "conv": 0.03, "fc": 0.01},  # cuda-convnet's layer files: 0.03 on conv3..5
    "he": {"conv": None, "fc": None},
    "he-conv": {"conv": None, "fc": 0.01},
    "he-conv-005": {"conv": None, "fc": 0.005},
    "he-but-conv1": {"conv1": 0.01, "conv": None, "fc8": 0.01, "fc": None},
    "he-but-ends": {"conv1": 0.01, "conv": None, "fc": 0.01},
    "02-005": {"conv": 0.02, "fc": 0.005},
    "he1-02-005": {"conv1": None, "conv": 0.02, "fc": 0.005},
}


@dataclass(frozen=True)
class Recipe:
    """All that may differ between two runs."""

    init: str = "paper"
    bias: float = 1.0
    lr: float = 0.01
    batch: int = 128
    steps: int = 250
    drop_at: int = 0  # the step from which lr is a tenth; 0: never
    warmup: int = 0  # steps over which lr rises linearly
    momentum: float = 0.9
    decay: float = 0.0005
    divide: float = 1.0  # of the pixels, once the mean is taken away; the paper keeps 0..255
    mean: str = "pixel"  # one number, or the paper's mean "image"
    lrn: str = "sum"  # the paper's formula; "mean" is the paper's code
    seed: int = 0


class LRN(nn.Module):
    """x / (2 + 1e-4 * (sum | mean of squares over 5 maps)) ** 0.75; a window ends at the tower's edge."""

    def __init__(self, channels: int, per: str) -> None:
        super().__init__()
        at = torch.arange(channels)
        near = (at[:, None] - at).abs() <= 2
        same = at[:, None] // (channels // TOWERS) == at // (channels // TOWERS)
        band = (near & same).float() * (1e-4 / (5 if per == "mean" else 1))
        self.register_buffer("band", band[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """The sum over a window is a 1x1 convolution with a banded matrix: the fastest way on a CPU, by far."""
        # d ** -0.75 as two roots, as pow is slow
        inverse = torch.rsqrt(F.conv2d(x * x, self.band) + 2)
        return x * (inverse * inverse.sqrt())


def alexnet(recipe: Recipe, classes: int) -> nn.Sequential:
    """The net of 2012 with the recipe's initial values; layers are named as in specs/alexnet.net."""
    net = nn.Sequential()

    def conv(name: str, *sizes: int, **options: int) -> None:
        net.add_module(name, nn.Conv2d(*sizes, **options))
        net.add_module(f"{name}_relu", nn.ReLU(inplace=True))

    def norm_pool(name: str, channels: int) -> None:
        net.add_module(f"{name}_lrn", LRN(channels, recipe.lrn))
        net.add_module(f"{name}_pool", nn.MaxPool2d(3, 2))

    conv("conv1", 3, 96, 11, stride=4)
    norm_pool("conv1", 96)
    conv("conv2", 96, 256, 5, padding=2, groups=TOWERS)
    norm_pool("conv2", 256)
    conv("conv3", 256, 384, 3, padding=1)
    conv("conv4", 384, 384, 3, padding=1, groups=TOWERS)
    conv("conv5", 384, 256, 3, padding=1, groups=TOWERS)
    net.add_module("conv5_pool", nn.MaxPool2d(3, 2))
    net.add_module("flatten", nn.Flatten())
    for name, fan_in in (("fc6", 9216), ("fc7", 4096)):
        net.add_module(name, nn.Linear(fan_in, 4096))
        net.add_module(f"{name}_relu", nn.ReLU(inplace=True))
        net.add_module(f"{name}_dropout", nn.Dropout(0.5))
    net.add_module("fc8", nn.Linear(4096, classes))

    stdevs = INITS[recipe.init]
    with torch.no_grad():
        for name, layer in net.named_children():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                key = next(k for k in (name, name[:-1]) if k in stdevs)
                he = math.sqrt(2 / layer.weight[0].numel())
                layer.weight.normal_(0, stdevs[key] or he)
                layer.bias.fill_(recipe.bias if name in BIASED else 0.0)
    return net


class Sample:
    """The embedded sample and the paper's preparation of it: resize, crop, mirror, colour noise, minus the mean."""

    def __init__(self, seed: int, mean: str) -> None:
        with np.load(SAMPLE, allow_pickle=False) as arrays:
            self.train = torch.from_numpy(arrays["train_images"]), torch.from_numpy(arrays["train_labels"]).long()
            self.val = torch.from_numpy(arrays["val_images"]), torch.from_numpy(arrays["val_labels"]).long()
            self.classes = len(arrays["classes"])
        pixels = self.train[0].float()
        self.mean = self.resize(pixels.mean(0)[None])[0] if mean == "image" else pixels.mean().expand(1, RESIZE, RESIZE)
        # The three channels are equal, so the covariance has one eigenvector (1, 1, 1) / sqrt(3) with eigenvalue
        # 3 * variance, and the noise 0.1 * N(0, 1) * sqrt(eigenvalue) adds 0.1 * N(0, 1) * stdev to all channels.
        self.noise = 0.1 * pixels.std()
        self.random = torch.Generator().manual_seed(seed)

    @staticmethod
    def resize(images: Tensor) -> Tensor:
        """Bytes [n, 28, 28] to floats [n, 1, 256, 256] on the scale 0..255."""
        big = F.interpolate(images[:, None].float(), size=(RESIZE, RESIZE), mode="bilinear", align_corners=False)
        return big.round_()

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Training batches without end, every image once in each epoch."""
        images, labels = self.train
        order = torch.empty(0, dtype=torch.long)
        while True:
            while len(order) < size:
                order = torch.cat([order, torch.randperm(len(images), generator=self.random)])
            chosen, order = order[:size], order[size:]
            yield self.augment(self.resize(images[chosen]) - self.mean), labels[chosen]

    def augment(self, big: Tensor) -> Tensor:
        """A crop, mirrored or not, for each image; the same noise for its three channels."""
        rows, columns = torch.randint(RESIZE - CROP + 1, (2, len(big)), generator=self.random).tolist()
        mirrored = torch.rand(len(big), generator=self.random) < 0.5
        crops = torch.stack([b[:, r : r + CROP, c : c + CROP] for b, r, c in zip(big, rows, columns, strict=True)])
        crops[mirrored] = crops[mirrored].flip(-1)
        crops += self.noise * torch.randn(len(big), 1, 1, 1, generator=self.random)
        return crops.expand(-1, 3, -1, -1).contiguous()

    def validation(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Centre crops of the first `count` held-out images (any prefix is balanced)."""
        corner = (RESIZE - CROP) // 2
        images, labels = self.val[0][:count], self.val[1][:count]
        for part, answer in zip(images.split(50), labels.split(50), strict=True):
            crops = (self.resize(part) - self.mean)[:, :, corner : corner + CROP, corner : corner + CROP]
            yield crops.expand(-1, 3, -1, -1).contiguous(), answer


class PaperSGD:
    """v = 0.9 v - decay lr w - lr g, w += v; a bias has twice the rate and no decay."""

    def __init__(self, net: nn.Module, recipe: Recipe) -> None:
        self.recipe = recipe
        named = list(net.named_parameters())
        self.groups = [
            ([p for n, p in named if n.endswith("weight")], 1.0, recipe.decay),
            ([p for n, p in named if n.endswith("bias")], 2.0, 0.0),
        ]
        self.velocities = [[torch.zeros_like(p) for p in params] for params, _, _ in self.groups]

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        recipe = self.recipe
        lr = recipe.lr * (0.1 if recipe.drop_at and step >= recipe.drop_at else 1.0)
        return lr * min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else lr

    @torch.no_grad()
    def step(self, number: int) -> None:
        """One update from the gradients at hand, which are dropped."""
        for (params, factor, decay), velocities in zip(self.groups, self.velocities, strict=True):
            lr = self.rate(number) * factor
            for p, v in zip(params, velocities, strict=True):
                v.mul_(self.recipe.momentum).add_(p.grad, alpha=-lr)
                if decay:
                    v.add_(p, alpha=-lr * decay)
                p.add_(v)
                p.grad = None


@torch.no_grad()
def validate(net: nn.Module, sample: Sample, count: int, divide: float) -> tuple[float, float]:
    """Top-1 accuracy and mean loss on held-out images."""
    net.eval()
    hits = loss = 0.0
    for images, labels in sample.validation(count):
        scores = net((images / divide).to(memory_format=torch.channels_last))
        hits += float((scores.argmax(1) == labels).sum())
        loss += float(F.cross_entropy(scores, labels, reduction="sum"))
    net.train()
    return hits / count, loss / count


def run(recipe: Recipe, every: int, quick: int, final: int) -> dict[str, object]:
    """Train by a recipe; validate on `quick` images after each `every` steps, on `final` at the end."""
    torch.manual_seed(recipe.seed)
    sample = Sample(recipe.seed, recipe.mean)
    net = alexnet(recipe, sample.classes).to(memory_format=torch.channels_last)
    solver, batches = PaperSGD(net, recipe), sample.batches(recipe.batch)
    curve: list[dict[str, float]] = []
    recent: list[float] = []
    started = time.perf_counter()
    for step in range(recipe.steps):
        images, labels = next(batches)
        images /= recipe.divide
        loss = F.cross_entropy(net(images.to(memory_format=torch.channels_last)), labels)
        loss.backward()
        solver.step(step)
        recent.append(loss.item())
        last = step + 1 == recipe.steps or not math.isfinite(recent[-1])
        if last or (step + 1) % every == 0:
            top1, val_loss = validate(net, sample, final if last else quick, recipe.divide)
            seconds = time.perf_counter() - started
            point = {"step": step + 1, "images": (step + 1) * recipe.batch, "train_loss": float(np.mean(recent))}
            curve.append({**point, "val_top1": top1, "val_loss": val_loss, "seconds": seconds})
            print(json.dumps({k: round(v, 4) for k, v in curve[-1].items()}), flush=True)
            recent.clear()
            if last:
                break
    return {"recipe": asdict(recipe), "curve": curve}


def main() -> None:
    """One recipe from the command line, its curve on standard output and, with --log, appended to a file of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measure.learning", description=__doc__)
    for name, default in asdict(Recipe()).items():
        choices = {"init": list(INITS), "lrn": ["sum", "mean"], "mean": ["pixel", "image"]}.get(name)
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(default), default=default, choices=choices, help=f"default {default}")
    parser.add_argument("--every", type=int, default=25, help="steps between validations")
    parser.add_argument("--quick", type=int, default=300, help="held-out images of these")
    parser.add_argument("--final", type=int, default=1500, help="held-out images of the last validation")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--log", type=Path)
    options = vars(parser.parse_args())
    every, quick, final, threads, log = (options.pop(k) for k in ("every", "quick", "final", "threads", "log"))
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    result = run(Recipe(**options), every, quick, final)
    if log:
        with log.open("a") as file:
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
