"""A contact sheet: prepared images as pictures in rows, each with its class written below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

CELL = 128
"""Pixels of a picture's longer side on the sheet."""
_GAP, _LINE = 6, 16
_GROUND, _INK = (232, 232, 232), (20, 20, 20)  # not white, as the ground of many pictures is


def contact_sheet(images: NDArray[np.float32], captions: Sequence[str], columns: int = 8) -> Image.Image:
    """Images [n, 1 or 3, height, width] of values 0..255, those beyond cut off, with a caption each."""
    count, _, height, width = images.shape
    columns = max(1, min(columns, count))
    scale = CELL / max(height, width)
    cell_height, cell_width = max(1, round(height * scale)), max(1, round(width * scale))
    font = ImageFont.load_default(11)
    step_down, step_right = cell_height + _LINE + _GAP, max(cell_width, CELL // 2) + _GAP
    rows = -(-count // columns)
    sheet = Image.new("RGB", (_GAP + columns * step_right, _GAP + rows * step_down), _GROUND)
    draw = ImageDraw.Draw(sheet)
    # Small images are enlarged without smoothing: what training sees is their pixels.
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        top, left = _GAP + i // columns * step_down, _GAP + i % columns * step_right
        pixels = np.rint(image).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
        picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        sheet.paste(picture.resize((cell_width, cell_height), method), (left, top))
        draw.text((left, top + cell_height + 1), _fitted(caption, font, step_right - _GAP), _INK, font)
    return sheet


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """As much of a text as is not wider."""
    text = "".join(letter if letter.isprintable() and ord(letter) < 0x3000 else "?" for letter in text[:200])
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
