"""Brightness, contrast and saturation of a picture by factors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
"""How much of gray is red, green and blue (ITU-R BT.601, as Pillow has it)."""


def jittered(image: NDArray[np.uint8], factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """An image [h, w, 1 or 3] of values 0..255, float32, the factors [3] applied in turn and values beyond cut off.

    Brightness multiplies; contrast multiplies the distance to the picture's mean gray; saturation the distance of each
    pixel to its own gray.
    """
    brightness, contrast, saturation = factors
    pixels = (image * brightness).astype(np.float32)
    gray = _gray(pixels)
    middle = np.float32(gray.mean(dtype=np.float64))
    pixels = (pixels - middle) * contrast + middle
    if image.shape[2] == 3:
        gray = _gray(pixels)
        pixels = (pixels - gray) * saturation + gray
    return np.asarray(pixels.clip(0, 255), np.float32)


def _gray(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    if pixels.shape[2] == 1:
        return pixels
    # Sums spelled out: a matrix product may round differently on another machine.
    red, green, blue = (pixels[:, :, i : i + 1] * LUMINANCE[i] for i in range(3))
    return np.asarray(red + green + blue, np.float32)
