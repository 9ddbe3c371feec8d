"""Means over seeds with their 95 % intervals, and how two variants compare, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import fmean, stdev

from scipy.special import stdtrit

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over ``count`` seeds, and the ends of its interval, which takes two seeds or more."""

    count: int
    mean: float
    low: float | None = None
    high: float | None = None


def mean(values: Sequence[float]) -> Estimate:
    """The mean of at least one value: mean +- t s / sqrt(n), s the sample's standard deviation, t the 97.5 % point of
    Student's distribution with n - 1 degrees of freedom (Student, "The probable error of a mean", 1908)."""
    count, centre = len(values), fmean(values)
    if count < 2:
        return Estimate(count, centre)
    half = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * stdev(values) / sqrt(count)
    return Estimate(count, centre, centre - half, centre + half)


def difference(values: Sequence[float], first: Sequence[float]) -> Estimate:
    """How much more these are than the first variant's with the same seeds: the mean of differences."""
    return mean([a - b for a, b in zip(values, first, strict=True)])


def ratio(values: Sequence[float], first: Sequence[float]) -> Estimate:
    """How many times as much these are as the first variant's with the same seeds, all above 0: ``mean`` of the
    logarithms of ratios, so that it is the same whichever way round."""
    found = mean([log(a / b) for a, b in zip(values, first, strict=True)])
    ends = (None if end is None else exp(end) for end in (found.low, found.high))
    return Estimate(found.count, exp(found.mean), *ends)
