"""The picture of a run's curves: what is drawn lies where the values say, whatever their number and size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexdsl.train.charts import BOTTOM, COLOURS, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from alexdsl.train.curves import History, curves_picture, save_curves


def pixels(picture: Image.Image, colour: tuple[int, int, int], top: int = 0) -> list[tuple[int, int]]:
    """Where a panel's inside has this colour, as (x, y)."""
    inside = np.asarray(picture)[top + TOP : top + HEIGHT - 10, LEFT + 1 : WIDTH - RIGHT]
    rows, columns = np.nonzero((inside == colour).all(2))
    return list(zip(columns.tolist(), rows.tolist(), strict=True))


def history(steps: int, **values: float) -> History:
    found = History()
    for step in range(1, steps + 1):
        found.add({"step": step, "rate": 1.0, **values})
    return found


def test_a_falling_loss_falls_and_an_accuracy_is_at_its_height() -> None:
    falling = History()
    for step in range(1, 101):
        falling.add({"step": step, "rate": 1.0, "loss": 2.0 - step / 100, "top1": 0.5})
    falling.add({"step": 100, "val.top1": 1.0, "val.images": 1500, "val.seconds": 3.0})
    picture = curves_picture(falling)
    assert picture.size == (WIDTH, 2 * HEIGHT)
    loss = sorted(pixels(picture, COLOURS[0]))
    assert [y for _, y in loss] == sorted(y for _, y in loss)
    assert loss[0][1] < 5
    assert loss[-1][1] > 100
    heights = {y for _, y in pixels(picture, COLOURS[0], HEIGHT)}
    assert len(heights) == 1
    assert heights.pop() == pytest.approx((HEIGHT - TOP - BOTTOM) / 2, abs=2)
    assert pixels(picture, COLOURS[1], HEIGHT), "the only validation is a point"


def test_large_runs_and_odd_numbers() -> None:
    many = history(200_000, loss=2.0)
    assert pixels(curves_picture(many), COLOURS[0])
    wide = History()
    for step, loss in enumerate([2.3, float("nan"), 1e6, float("inf"), 1e-3, 2.0], 1):
        wide.add({"step": step, "loss": loss})
    assert pixels(curves_picture(wide), COLOURS[0])
    assert curves_picture(history(1, loss=0.0)).size == (WIDTH, HEIGHT)


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    save_curves(History(), tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
