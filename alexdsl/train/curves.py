"""A run's curves as a picture: its loss, and its accuracies, in training and validation."""

from __future__ import annotations

import io
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alexdsl.files import write_whole
from alexdsl.train.charts import Line, Panel, draw, thinned

NOT_DRAWN = ("step", "rate", "val.images", "val.seconds")


@dataclass
class History:
    """What is drawn, kept compactly: for each metric its steps and values."""

    series: dict[str, tuple[array[float], array[float]]] = field(default_factory=dict)

    def add(self, record: Mapping[str, Any]) -> None:
        """A line of the metrics."""
        for name, value in record.items():
            if name not in NOT_DRAWN and not name.startswith("update.") and isinstance(value, int | float):
                steps, values = self.series.setdefault(name, (array("d"), array("d")))
                steps.append(record["step"])
                values.append(value)


def save_curves(history: History, path: Path) -> None:
    """Draw the picture. Raises OSError."""
    if not history.series:
        return
    drawn = io.BytesIO()
    curves_picture(history).save(drawn, "PNG")
    write_whole(path, drawn.getvalue())


def curves_picture(history: History) -> Image.Image:
    """The panels, one above the other: there is one for the loss, and one for accuracies where there are any."""
    lines = [_line(name, *points) for name, points in history.series.items()]
    losses = [line for line in lines if "loss" in line.name]
    others = [line for line in lines if "loss" not in line.name]
    panels = [Panel("loss", losses), Panel("accuracy", others, percent=True, bounds=(0.0, 1.0))]
    return draw([panel for panel in panels if panel.lines])


def _line(name: str, steps: array[float], values: array[float]) -> Line:
    validated = name.startswith("val.")
    return thinned(Line(name, np.array(steps), np.array(values), bold=validated, dotted=validated))
