"""What came of a sweep: every run's numbers, every variant's means and intervals, and why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alexdsl.sweep.estimates import Estimate, difference, mean, ratio
from alexdsl.sweep.measures import Measure, running, series
from alexdsl.sweep.plan import Sweep
from alexdsl.sweep.runs import DIVERGED, FINISHED, NOT_BEGUN, Run


@dataclass(frozen=True)
class Value:
    """A run's number, or why there is none; ``failed`` where none will come."""

    number: float | None
    why: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Cell:
    """A variant's numbers for a measure, by seed. ``estimate`` is there when no run failed to give one; ``against`` is
    the ratio to the first variant (of steps) or the difference (of all else)."""

    values: Mapping[int, Value]
    estimate: Estimate | None = None
    against: Estimate | None = None


@dataclass(frozen=True)
class Results:
    """By variant its runs, and by (variant, measure's label) its numbers."""

    sweep: Sweep
    runs: Mapping[str, Sequence[Run]]
    cells: Mapping[tuple[str, str], Cell]

    @property
    def complete(self) -> bool:
        """Whether every run is over."""
        return all(run.over for runs in self.runs.values() for run in runs)


def results(sweep: Sweep, runs: Mapping[str, Sequence[Run]]) -> Results:
    """Measure all runs; variants in their order, seeds in theirs."""
    cells: dict[tuple[str, str], Cell] = {}
    for measure in sweep.measures:
        first: Mapping[int, Value] | None = None
        for name, some in runs.items():
            values = {run.job.seed: value(run, measure) for run in some}
            cells[name, measure.label] = Cell(values, _estimate(values), _against(measure, values, first))
            first = first if first is not None else values
    return Results(sweep, runs, cells)


def standing(run: Run) -> str:
    """What is the matter with a run that did not come to its end; empty where it did."""
    if run.state == FINISHED:
        return ""
    return run.state if run.state == NOT_BEGUN else f"{run.state} at step {run.step:,}"


def value(run: Run, measure: Measure) -> Value:
    """A run's number for a measure. A run that diverged gives none, whatever it reached before."""
    if run.state in (DIVERGED, NOT_BEGUN):
        return Value(None, standing(run), failed=run.state == DIVERGED)
    number = measure.of(*running(*series(run.records, measure.metric), measure.over))
    if run.state != FINISHED and (measure.kind != "until" or number is None):
        return Value(None, standing(run))
    if number is None:
        never = f"not reached in {run.step:,} steps"
        few = f"{measure.metric} was logged fewer than {measure.over:,} times"
        return Value(None, never if measure.kind == "until" else few, failed=True)
    return Value(number)


def _estimate(values: Mapping[int, Value]) -> Estimate | None:
    """The mean of what is there, unless a seed failed: the mean of the others would flatter."""
    numbers = [one.number for one in values.values() if one.number is not None]
    return mean(numbers) if numbers and not any(one.failed for one in values.values()) else None


def _against(measure: Measure, values: Mapping[int, Value], first: Mapping[int, Value] | None) -> Estimate | None:
    if first is None or any(one.failed for one in (*values.values(), *first.values())):
        return None
    found = [(one.number, first[seed].number) for seed, one in values.items() if seed in first]
    pairs = [(a, b) for a, b in found if a is not None and b is not None]
    if not pairs:
        return None
    ours, theirs = zip(*pairs, strict=True)
    return ratio(ours, theirs) if measure.kind == "until" else difference(ours, theirs)
