"""The first layer's filters as a picture (Krizhevsky et al. 2012, figure 3)."""

from __future__ import annotations

import io
from math import ceil, sqrt
from pathlib import Path

import numpy as np
from PIL import Image

from alexdsl.files import write_whole
from alexdsl.ir.protocol import Array

GAP = 1
ZOOM = 4


def filters_picture(weight: Array) -> Image.Image:
    """Filters [maps, 1 or 3, height, width] side by side, each stretched to its own full contrast."""
    maps, channels, height, width = weight.shape
    columns = ceil(sqrt(maps * 2))
    rows = ceil(maps / columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 32, np.uint8)
    for i, kernel in enumerate(weight):
        low, high = kernel.min(), kernel.max()
        tile = (255 * (kernel - low) / max(high - low, 1e-12)).astype(np.uint8).transpose(1, 2, 0)
        top, left = GAP + i // columns * (height + GAP), GAP + i % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = tile if channels == 3 else tile[:, :, :1]
    picture = Image.fromarray(sheet)
    return picture.resize((picture.width * ZOOM, picture.height * ZOOM), Image.Resampling.NEAREST)


def save_filters(weights: dict[str, Array], path: Path) -> str | None:
    """Draw the first convolution that reads pixels; returns its name, or none where the net has none."""
    for name, weight in weights.items():
        if weight.ndim == 4 and weight.shape[1] in (1, 3) and min(weight.shape[2:]) > 1:
            drawn = io.BytesIO()
            filters_picture(weight).save(drawn, "PNG")
            write_whole(path, drawn.getvalue())
            return name
    return None
