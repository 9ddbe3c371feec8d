"""One image on its way into a shard: its bytes looked at, decoded, scaled and encoded, or kept as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from alexdsl.data.decoding import decode_bytes, opened, orientation
from alexdsl.data.errors import ImageError
from alexdsl.data.resizing import resized, shorter_side
from alexdsl.data.settings import ShorterSide

LONGEST = 65_500
"""Pixels of the longest side that libjpeg encodes."""
_MODES = {
    "1": "one bit",
    "L": "grayscale",
    "LA": "transparent",
    "PA": "transparent",
    "RGBA": "transparent",
    "P": "palette",
    "CMYK": "CMYK",
    "I": "16 bits",
    "F": "16 bits",
}
_SUFFIXES = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",), "BMP": (".bmp",), "GIF": (".gif",), "WEBP": (".webp",)}


@dataclass(frozen=True, slots=True)
class Options:
    """How images are stored: pixels of the shorter side (none: every image keeps its size), quality of JPEG 1..100."""

    side: int | None = 256
    quality: int = 90


@dataclass(frozen=True, slots=True)
class Converted:
    """An image as it is stored: the JPEG file, its picture uint8 [height, width, 1 or 3], what was odd about it."""

    raw: bytes
    pixels: NDArray[np.uint8]
    kept: bool
    notes: tuple[str, ...]


def convert(raw: bytes, name: str, options: Options) -> Converted:
    """Make an image ready to be stored; ``name`` is what messages call it. Raises ImageError."""
    pixels = decode_bytes(raw, name, options.side)
    notes, keepable = _look(raw, name)
    height, width = pixels.shape[:2]
    if keepable and options.side in (None, min(height, width)):
        return Converted(raw, pixels, True, notes)
    size = (height, width) if options.side is None else shorter_side(height, width, options.side)
    if max(size) > LONGEST:
        raise ImageError(f"{name} would have {size[0]:,} x {size[1]:,} pixels", "too long")
    if options.side is not None:
        pixels = resized(pixels, ShorterSide(options.side, square=False))
    pixels = np.ascontiguousarray(pixels)
    gray = pixels.shape[2] == 1
    encoded: bytes = simplejpeg.encode_jpeg(
        pixels, options.quality, "GRAY" if gray else "RGB", "Gray" if gray else "420"
    )
    return Converted(encoded, pixels, False, notes)


def _look(raw: bytes, name: str) -> tuple[tuple[str, ...], bool]:
    """What is odd about an image that can be decoded, and whether it is an upright JPEG file that anything reads."""
    with opened(raw) as image:
        notes = []
        deep = image.format == "PNG" and raw[24:25] == b"\x10"  # the header's bits per sample
        mode = "16 bits" if deep or image.mode.startswith("I;") else _MODES.get(image.mode)
        if mode is not None:
            notes.append(mode)
        if "transparency" in image.info and mode != "transparent":
            notes.append("transparent")
        turn = orientation(image)
        if turn not in (0, 1):
            notes.append("rotated by EXIF")
        if image.format in ("GIF", "PNG", "WEBP") and getattr(image, "is_animated", False):
            notes.append("animated, its first picture taken")
        if not name.lower().endswith(_SUFFIXES.get(image.format or "", "")):
            notes.append("named as another format")
        return tuple(notes), image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB") and turn in (0, 1)
