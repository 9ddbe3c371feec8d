"""Images of a source at the size that crops are taken from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexdsl.data.errors import DataError
from alexdsl.data.settings import DataSettings, Exact, Resize, ShorterSide
from alexdsl.data.sources import Source

Bytes = NDArray[np.uint8]


def load(source: Source, i: int, settings: DataSettings) -> Bytes:
    """Image i, resized: uint8 [height, width, 1 or 3], one channel where the image or the net is gray.

    Raises DataError.
    """
    image = source.read(i, least_side(settings.resize))
    if settings.channels == 1 and image.shape[2] == 3:
        image = np.asarray(Image.fromarray(image).convert("L"))[:, :, None]  # 0.299 R + 0.587 G + 0.114 B
    image = resized(image, settings.resize)
    crop = settings.crop_size
    if crop is not None and (image.shape[0] < crop[0] or image.shape[1] < crop[1]):
        height, width = image.shape[:2]
        raise DataError(
            f"{source.name(i)} is {height} x {width} where a crop of {crop[0]} x {crop[1]} is due; "
            f"data.resize = shorter_side({max(crop)}) or more would make it large enough"
        )
    return image


def least_side(resize: Resize) -> int | None:
    """How many pixels of an image's shorter side suffice for resizing, or none when every one counts."""
    if isinstance(resize, Exact):
        return max(resize.height, resize.width)
    return None if resize is None else resize.pixels


def resized(image: Bytes, resize: Resize) -> Bytes:
    """The image at the size asked for: bilinear, a result averaging all pixels under it when shrinking (Pillow)."""
    if resize is None:
        return image
    height, width = image.shape[:2]
    if isinstance(resize, Exact):
        return scaled(image, resize.height, resize.width)
    image = scaled(image, *shorter_side(height, width, resize.pixels))
    return central(image, resize.pixels, resize.pixels) if resize.square else image


def shorter_side(height: int, width: int, pixels: int) -> tuple[int, int]:
    """The size whose shorter side is ``pixels``; the longer one is rounded to the nearest, halves up."""
    short = min(height, width)
    return (2 * height * pixels + short) // (2 * short), (2 * width * pixels + short) // (2 * short)


def central(image: Bytes, height: int, width: int) -> Bytes:
    """The centre of an image; the odd row or column is left at the bottom or right."""
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def scaled(image: Bytes, height: int, width: int) -> Bytes:
    """The image at this size, bilinear; itself where it has it."""
    if image.shape[:2] == (height, width):
        return image
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    scaled = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(scaled).reshape(height, width, image.shape[2])


def image_shape(settings: DataSettings, source: Source | None = None) -> tuple[int, int, int]:
    """(channels, height, width) of what a net is given. Raises DataError where the settings leave it open."""
    size = settings.crop_size or settings.resized_size
    if size is None and settings.resize is None and source is not None:
        size = source.size
    if size is None and isinstance(settings.resize, ShorterSide) and source is not None and source.size is not None:
        size = shorter_side(*source.size, settings.resize.pixels)
    if size is None:
        raise DataError(
            "the images have different sizes; data.crop = 227 (or data.resize = exact([h, w])) gives one size"
        )
    return settings.channels, *size
