"""A sweep's picture: every variant's curve, the mean over its seeds in a band from the lowest to the highest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
from PIL import Image

from alexdsl.sweep.measures import Measure, is_part, running, series
from alexdsl.sweep.results import Results
from alexdsl.sweep.runs import Run
from alexdsl.train.charts import Line, Panel, draw, thinned


def picture(found: Results) -> Image.Image | None:
    """A panel for each metric that is measured, in the order of the measures; none where nothing was logged yet."""
    by_metric: dict[str, list[Measure]] = {}
    for measure in found.sweep.measures:
        by_metric.setdefault(measure.metric, []).append(measure)
    panels = [_panel(metric, measures, found.runs) for metric, measures in by_metric.items()]
    shown = [panel for panel in panels if panel.lines]
    return draw(shown) if shown else None


def _panel(metric: str, measures: Sequence[Measure], runs: Mapping[str, Sequence[Run]]) -> Panel:
    over = measures[0].over
    drawn = (_line(name, number, some, metric, over) for number, (name, some) in enumerate(runs.items()))
    lines = [line for line in drawn if line is not None]
    where, _, name = metric.rpartition(".")
    what = "held-out" if where == "val" else "training"
    mean = f", mean of the last {over:,}" if over > 1 else ""
    seeds = max((sum(run.step > 0 for run in some) for some in runs.values()), default=0)
    bands = f"; the mean of {seeds} seeds, and the lowest to the highest" if seeds > 1 else ""
    title = f"{what} {'top-1' if name == 'top1' else name}{mean}{bands}"
    levels = [measure.bound for measure in measures if measure.kind == "until"]
    return Panel(title, lines, percent=is_part(metric), levels=levels)


def _line(name: str, number: int, runs: Sequence[Run], metric: str, over: int) -> Line | None:
    """A variant's curve, as far as all of its runs that have begun went."""
    curves = [running(*series(run.records, metric), over) for run in runs if run.step]
    curves = [curve for curve in curves if len(curve[0])]
    if not curves:
        return None
    steps = reduce(np.intersect1d, [steps for steps, _ in curves])
    values = np.array([values[np.isin(own, steps)] for own, values in curves])
    if not len(steps):
        return None
    validated = metric.startswith("val.")
    low, high = (values.min(0), values.max(0)) if len(values) > 1 else (None, None)
    return thinned(Line(name, steps, values.mean(0), low, high, bold=True, dotted=validated, colour=number))
