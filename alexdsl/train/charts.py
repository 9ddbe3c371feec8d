"""Curves as a picture: panels one above the other, each with its axes, lines with bands, and names at the side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, isfinite, log10

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Floats = NDArray[np.float64]

WIDTH, HEIGHT = 900, 330
"""Pixels of a panel."""
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 30, 34
"""The margins of a panel."""
COLOURS = (
    (31, 119, 180), (214, 96, 20), (44, 140, 60), (148, 70, 170), (120, 90, 60),
    (20, 170, 180), (200, 40, 60), (150, 160, 20), (90, 90, 90), (230, 120, 190),
)  # fmt: skip
WIDE_RANGE = 30.0
"""Values whose largest is so many times the smallest are drawn on a logarithmic scale."""
LEAST = 1e-8
BAND = 64
"""How much a band covers, of 255, so that others are seen through it."""


@dataclass(frozen=True)
class Line:
    """A curve: its name and its points; ``low`` and ``high`` bound its band. ``bold`` ones are thicker, ``dotted`` ones
    mark their points; ``colour`` is its number among ``COLOURS`` (none: its place in the panel)."""

    name: str
    steps: Floats
    values: Floats
    low: Floats | None = None
    high: Floats | None = None
    bold: bool = False
    dotted: bool = False
    colour: int | None = None


@dataclass(frozen=True)
class Panel:
    """Curves that share axes. ``percent``: values are parts of 1; ``bounds``: what is shown at least (none: from the
    values), linearly; ``levels`` are marked across."""

    title: str
    lines: Sequence[Line]
    percent: bool = False
    bounds: tuple[float, float] | None = None
    levels: Sequence[float] = ()


def thinned(line: Line) -> Line:
    """A curve by means over as many steps as fall on one pixel."""
    low, high = (None if end is None else _thin(end) for end in (line.low, line.high))
    return replace(line, steps=_thin(line.steps), values=_thin(line.values), low=low, high=high)


def draw(panels: Sequence[Panel]) -> Image.Image:
    """The panels, one above the other; at least one, and each with a point at least."""
    picture = Image.new("RGB", (WIDTH, HEIGHT * len(panels)), "white")
    last = max(line.steps[-1] for panel in panels for line in panel.lines)
    for number, panel in enumerate(panels):
        _draw_panel(ImageDraw.Draw(picture, "RGBA"), number * HEIGHT, panel, last)
    return picture


def _thin(points: Floats) -> Floats:
    parts = min(len(points), WIDTH - LEFT - RIGHT)
    ends = np.linspace(0, len(points), parts + 1).astype(int)
    means: Floats = np.add.reduceat(points, ends[:-1]) / np.diff(ends)
    return means


def _draw_panel(draw: ImageDraw.ImageDraw, top: int, panel: Panel, last: float) -> None:
    font = ImageFont.load_default()
    arrays = [a for line in panel.lines for a in (line.values, line.low, line.high) if a is not None]
    shown = np.concatenate([a[np.isfinite(a)] for a in arrays])
    low, high = (float(shown.min()), float(shown.max())) if len(shown) else (0.0, 1.0)
    logarithmic = panel.bounds is None and not panel.percent and high > WIDE_RANGE * max(low, LEAST)
    if logarithmic:
        low, high = log10(max(low, LEAST)), log10(high)
    elif panel.bounds is not None:
        low, high = panel.bounds
    elif not panel.percent:
        low = min(low, 0.0)
    marks = _marks(low, high, whole=logarithmic)
    low, high = min(low, marks[0]), max(high, marks[-1])
    box = (LEFT, top + TOP, WIDTH - RIGHT, top + HEIGHT - BOTTOM)

    def place(step: float, value: float) -> tuple[float, float]:
        across = step / max(last, 1)
        up = (value - low) / ((high - low) or 1)
        return box[0] + across * (box[2] - box[0]), box[3] - up * (box[3] - box[1])

    def points(line: Line, values: Floats) -> list[tuple[float, float]]:
        heights = np.log10(np.maximum(values, LEAST)) if logarithmic else values
        return [place(x, y) for x, y in zip(line.steps, heights, strict=True) if isfinite(y)]

    draw.text((LEFT, top + 10), panel.title + (", logarithmic" if logarithmic else ""), "black", font)
    for mark in marks:
        y = place(0, mark)[1]
        draw.line([(box[0], y), (box[2], y)], (225, 225, 225))
        text = f"{mark:.{_digits(marks)}%}" if panel.percent else f"{10**mark:g}" if logarithmic else f"{mark:g}"
        draw.text((box[0] - 6 - draw.textlength(text, font), y - 6), text, "black", font)
    for mark in _marks(0, last):
        x = place(mark, low)[0]
        if mark <= last:
            draw.line([(x, box[3]), (x, box[3] + 4)], "black")
            draw.text((x - draw.textlength(f"{mark:,.0f}", font) / 2, box[3] + 7), f"{mark:,.0f}", "black", font)
    draw.text((box[2] + 24, box[3] + 7), "step", "black", font)
    draw.line([(box[0], box[1]), (box[0], box[3]), (box[2], box[3])], "black")
    numbers = [i if line.colour is None else line.colour for i, line in enumerate(panel.lines)]
    colours = [COLOURS[number % len(COLOURS)] for number in numbers]
    for line, colour in zip(panel.lines, colours, strict=True):
        if line.low is not None and line.high is not None and len(line.steps) > 1:
            draw.polygon([*points(line, line.high), *reversed(points(line, line.low))], (*colour, BAND))
    for level in panel.levels:
        y = place(0, level)[1]
        for x in range(box[0], box[2], 8):
            draw.line([(x, y), (x + 3, y)], "black")
    for number, (line, colour) in enumerate(zip(panel.lines, colours, strict=True)):
        found = points(line, line.values)
        if len(found) > 1:
            draw.line(found, colour, 1 + line.bold)
        if line.dotted or len(found) == 1:
            for x, y in found:
                draw.ellipse([(x - 2, y - 2), (x + 2, y + 2)], colour)
        y = box[1] + 16 * number
        draw.line([(box[2] + 10, y + 6), (box[2] + 28, y + 6)], colour, 2)
        newest = f"{line.values[-1]:.1%}" if panel.percent else f"{line.values[-1]:.4g}"
        draw.text((box[2] + 34, y), f"{line.name} {newest}", "black", font)


def _digits(marks: Sequence[float]) -> int:
    """Decimals of a percentage that tell marks apart."""
    return 0 if len(marks) < 2 or marks[1] - marks[0] >= 0.0099 else 1


def _marks(low: float, high: float, whole: bool = False) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``, four to eight of them."""
    if not high > low:
        return [low, low + 1]
    step = 10.0 ** floor(log10((high - low) / 4))
    while (high - low) / step > 8:
        step *= 2.5 if f"{step:e}"[0] == "2" else 2
    step = max(1.0, ceil(step)) if whole else step
    return [step * i for i in range(floor(low / step), ceil(high / step) + 1)]
