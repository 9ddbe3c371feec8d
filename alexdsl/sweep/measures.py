"""What is measured of a run, from the lines of its metrics: steps until a bound is met, or how good it ends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

KINDS = ("until", "last", "best")
UNTIL = re.compile(r"(?P<metric>[\w.]+)\s*(?P<sign><=|>=)\s*(?P<bound>[0-9.]+(e-?[0-9]+)?)(?P<percent>%?)")
METRIC = re.compile(r"[A-Za-z_][\w.]*")


class MeasureError(Exception):
    """A measure's settings do not fit; the message says why."""


@dataclass(frozen=True)
class Measure:
    """A number of a run: steps until a metric's mean over the last ``over`` of its lines is at most (``<=``) or at
    least (``>=``) ``bound``; or that mean at the end (``last``); or the best that it ever is (``best``)."""

    label: str
    kind: str
    metric: str
    over: int = 1
    sign: str = ""
    bound: float = 0.0

    @property
    def percent(self) -> bool:
        """Whether its values are parts of 1."""
        return self.kind != "until" and is_part(self.metric)

    def of(self, steps: Floats, means: Floats) -> float | None:
        """The number, from where its metric was logged and its running mean there; none where it was not met."""
        if not len(means):
            return None
        if self.kind == "last":
            return float(means[-1])
        if self.kind == "best":
            return float(means.min() if falls(self.metric) else means.max())
        met = means <= self.bound if self.sign == "<=" else means >= self.bound
        return float(steps[met.argmax()]) if met.any() else None


def measure(label: str, says: Mapping[str, str]) -> Measure:
    """A measure by its settings: one of ``until``, ``last``, ``best``, and ``over``. Raises MeasureError."""
    kinds = [kind for kind in KINDS if kind in says]
    if len(kinds) != 1:
        raise MeasureError("says one of until: METRIC <= BOUND, last: METRIC, best: METRIC")
    kind, over = kinds[0], says.get("over", "1")
    if not re.fullmatch(r"[1-9][0-9]{0,6}", over):
        raise MeasureError(f"over is a number of steps, not '{over}'")
    if kind != "until":
        if not METRIC.fullmatch(says[kind]):
            raise MeasureError(f"{kind} names a metric, not '{says[kind]}'")
        return Measure(label, kind, says[kind], int(over))
    found = UNTIL.fullmatch(says["until"])
    try:
        bound = float(found["bound"]) if found else 0.0
    except ValueError:
        found = None
    if not found:
        raise MeasureError(f"until is METRIC <= BOUND or METRIC >= BOUND, such as error <= 25%, not '{says['until']}'")
    return Measure(label, kind, found["metric"], int(over), found["sign"], bound / (100 if found["percent"] else 1))


def known_metrics(logged: Iterable[str]) -> list[str]:
    """The metrics that measures may ask for, of a spec that logs these: each of training steps and, with ``val.``, of
    validations; ``error`` is 1 - top1."""
    names = list(logged)
    names += ["error"] if "top1" in names else []
    return names + [f"val.{name}" for name in names]


def is_part(metric: str) -> bool:
    """Whether a metric counts images, from 0 to 1."""
    return "loss" not in metric


def falls(metric: str) -> bool:
    """Whether less of a metric is better."""
    return "loss" in metric or metric.rpartition(".")[2] == "error"


def series(records: Sequence[Mapping[str, Any]], metric: str) -> tuple[Floats, Floats]:
    """The steps at which a metric was logged, and its values there."""
    head, dot, last = metric.rpartition(".")
    error = last == "error" and not any(metric in record for record in records)
    name = f"{head}{dot}top1" if error else metric
    pairs = [(record["step"], record[name]) for record in records if name in record]
    points = np.array(pairs, np.float64).reshape(-1, 2)
    return points[:, 0], 1 - points[:, 1] if error else points[:, 1]


def running(steps: Floats, values: Floats, over: int) -> tuple[Floats, Floats]:
    """The mean over every ``over`` values in a row, and the step of the last of them."""
    if len(values) < over:
        return steps[:0], values[:0]
    # In float64 the sums of 0/1 counts and losses lose nothing that could be seen.
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return steps[over - 1 :], (sums[over:] - sums[:-over]) / over
