"""A run's curves as a picture: its loss, and its accuracies, in training and validation."""

from __future__ import annotations

import io
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, isfinite, log10
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from alexdsl.files import write_whole

Floats = NDArray[np.float64]

WIDTH, HEIGHT = 900, 330
"""Pixels of a panel; there is one for the loss, and one for accuracies where there are any."""
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 30, 34
"""The margins of a panel."""
COLOURS = ((31, 119, 180), (214, 96, 20), (44, 140, 60), (148, 70, 170), (120, 90, 60))
WIDE_RANGE = 30.0
"""Losses whose largest is so many times the smallest are drawn on a logarithmic scale."""
LEAST = 1e-8
NOT_DRAWN = ("step", "rate", "val.images", "val.seconds")


@dataclass
class History:
    """What is drawn, kept compactly: for each metric its steps and values."""

    series: dict[str, tuple[array[float], array[float]]] = field(default_factory=dict)

    def add(self, record: Mapping[str, Any]) -> None:
        """A line of the metrics."""
        for name, value in record.items():
            if name not in NOT_DRAWN and isinstance(value, int | float):
                steps, values = self.series.setdefault(name, (array("d"), array("d")))
                steps.append(record["step"])
                values.append(value)


@dataclass(frozen=True)
class _Line:
    """A curve: its name, and the points that are drawn, of which there are at most as many as pixels."""

    name: str
    steps: Floats
    values: Floats


def save_curves(history: History, path: Path) -> None:
    """Draw the picture. Raises OSError."""
    if not history.series:
        return
    drawn = io.BytesIO()
    curves_picture(history).save(drawn, "PNG")
    write_whole(path, drawn.getvalue())


def curves_picture(history: History) -> Image.Image:
    """The panels, one above the other."""
    lines = [_line(name, *points) for name, points in history.series.items()]
    losses = [line for line in lines if "loss" in line.name]
    others = [line for line in lines if "loss" not in line.name]
    panels = [(title, some) for title, some in (("loss", losses), ("accuracy", others)) if some]
    picture = Image.new("RGB", (WIDTH, HEIGHT * len(panels)), "white")
    last = max(line.steps[-1] for line in lines)
    for number, (title, some) in enumerate(panels):
        _panel(ImageDraw.Draw(picture), number * HEIGHT, title, some, last)
    return picture


def _line(name: str, steps: array[float], values: array[float]) -> _Line:
    """The curve, by means over as many steps as fall on one pixel."""
    x, y = np.array(steps), np.array(values)
    parts = min(len(x), WIDTH - LEFT - RIGHT)
    ends = np.linspace(0, len(x), parts + 1).astype(int)
    starts, counts = ends[:-1], np.diff(ends)
    return _Line(name, np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts)


def _panel(draw: ImageDraw.ImageDraw, top: int, title: str, lines: Sequence[_Line], last: float) -> None:
    font = ImageFont.load_default()
    shown = np.concatenate([line.values[np.isfinite(line.values)] for line in lines])
    accuracy = title == "accuracy"
    low, high = (0.0, 1.0) if accuracy or not len(shown) else (float(shown.min()), float(shown.max()))
    logarithmic = not accuracy and high > WIDE_RANGE * max(low, LEAST)
    if logarithmic:
        low, high = log10(max(low, LEAST)), log10(high)
    elif not accuracy:
        low = min(low, 0.0)
    marks = _marks(low, high, whole=logarithmic)
    low, high = min(low, marks[0]), max(high, marks[-1])
    box = (LEFT, top + TOP, WIDTH - RIGHT, top + HEIGHT - BOTTOM)

    def place(step: float, value: float) -> tuple[float, float]:
        across = step / max(last, 1)
        up = (value - low) / ((high - low) or 1)
        return box[0] + across * (box[2] - box[0]), box[3] - up * (box[3] - box[1])

    draw.text((LEFT, top + 10), title + (", logarithmic" if logarithmic else ""), "black", font)
    for mark in marks:
        y = place(0, mark)[1]
        draw.line([(box[0], y), (box[2], y)], (225, 225, 225))
        text = f"{mark:.0%}" if accuracy else f"{10**mark:g}" if logarithmic else f"{mark:g}"
        draw.text((box[0] - 6 - draw.textlength(text, font), y - 6), text, "black", font)
    for mark in _marks(0, last):
        x = place(mark, low)[0]
        if mark <= last:
            draw.line([(x, box[3]), (x, box[3] + 4)], "black")
            draw.text((x - draw.textlength(f"{mark:,.0f}", font) / 2, box[3] + 7), f"{mark:,.0f}", "black", font)
    draw.text((box[2] + 34, box[3] + 7), "step", "black", font)
    draw.line([(box[0], box[1]), (box[0], box[3]), (box[2], box[3])], "black")
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        heights = np.log10(np.maximum(line.values, LEAST)) if logarithmic else line.values
        points = [place(x, y) for x, y in zip(line.steps, heights, strict=True) if isfinite(y)]
        if len(points) > 1:
            draw.line(points, colour, 1 + line.name.startswith("val."))
        if line.name.startswith("val.") or len(points) == 1:
            for x, y in points:
                draw.ellipse([(x - 2, y - 2), (x + 2, y + 2)], colour)
        y = box[1] + 16 * number
        draw.line([(box[2] + 10, y + 6), (box[2] + 28, y + 6)], colour, 2)
        newest = f"{line.values[-1]:.1%}" if accuracy else f"{line.values[-1]:.4g}"
        draw.text((box[2] + 34, y), f"{line.name} {newest}", "black", font)


def _marks(low: float, high: float, whole: bool = False) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``, four to eight of them."""
    if not high > low:
        return [low, low + 1]
    step = 10.0 ** floor(log10((high - low) / 4))
    while (high - low) / step > 8:
        step *= 2.5 if f"{step:e}"[0] == "2" else 2
    step = max(1.0, ceil(step)) if whole else step
    return [step * i for i in range(floor(low / step), ceil(high / step) + 1)]
