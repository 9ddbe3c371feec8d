"""A data set for PyTorch's DataLoader that does what torchvision's ImageFolder and transforms do, with Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """JPEG files in class folders: shorter side resized, cropped and mirrored at random, normalised, colour noise."""

    def __init__(self, folder: Path, side: int, crop: int) -> None:
        classes = sorted(child.name for child in folder.iterdir())
        self.files = [(file, label) for label, name in enumerate(classes) for file in sorted((folder / name).iterdir())]
        self.side, self.crop = side, crop
        self.mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        self.axes = torch.linalg.qr(torch.randn(3, 3)).Q * torch.tensor([0.2, 0.05, 0.02])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        file, label = self.files[i]
        with file.open("rb") as stream:
            image = Image.open(stream).convert("RGB")
        scale = self.side / min(image.size)
        if scale != 1:
            image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left = int(torch.randint(image.width - self.crop + 1, ()))
        top = int(torch.randint(image.height - self.crop + 1, ()))
        image = image.crop((left, top, left + self.crop, top + self.crop))
        if torch.rand(()) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div_(255)
        pixels.sub_(self.mean).add_((self.axes @ (0.1 * torch.randn(3)))[:, None, None]).mul_(4)
        return pixels, label
