"""Picture files for benchmarks: colour noise with the spectrum of photographs, as JPEG in class folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = 4
SLOPE = 1.2
"""Amplitudes of photographs fall by about 1 / frequency (Field, "Relations between the statistics of natural images",
1987); a little more, as cameras blur."""
QUALITY = 90


def write(folder: Path, count: int, height: int, width: int) -> int:
    """So many JPEG files; the bytes that they take."""
    random = np.random.default_rng(height)
    for i in range(count):
        file = folder / f"class{i % CLASSES}" / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(random, height, width)).save(file, quality=QUALITY)
    return sum(file.stat().st_size for file in folder.rglob("*.jpg"))


def picture(random: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]: three channels that have most of what they show in common."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    amplitude = np.maximum(np.hypot(rows, columns), 1 / max(height, width)) ** -SLOPE
    planes = np.fft.irfft2(amplitude * np.exp(2j * np.pi * random.random((4, *amplitude.shape))), (height, width))
    colours = (planes[0] + 0.3 * planes[1:]).transpose(1, 2, 0)
    return np.clip(128 + 55 * colours / colours.std(), 0, 255).astype(np.uint8)
