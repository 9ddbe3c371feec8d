"""Numbers of runs, means and intervals: against known values, and what is said where there is no number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from alexdsl.spec import Spec
from alexdsl.sweep.estimates import difference, mean, ratio
from alexdsl.sweep.measures import Measure, running, series
from alexdsl.sweep.picture import picture
from alexdsl.sweep.plan import Sweep, Variant
from alexdsl.sweep.results import Results, results
from alexdsl.sweep.runs import DIVERGED, FINISHED, UNFINISHED, Job, Run
from alexdsl.sweep.table import notes, rows
from alexdsl.train.charts import BAND, COLOURS

UNTIL = Measure("steps", "until", "error", 2, "<=", 0.25)
LAST = Measure("end", "last", "val.top1")


def run(variant: str, seed: int, accuracies: Sequence[float], state: str = FINISHED) -> Run:
    """A run with such a top1 at steps 1, 2, ...; the last of them is its validation's, too."""
    records: list[dict[str, Any]] = [{"step": i, "top1": top1} for i, top1 in enumerate(accuracies, 1)]
    records.append({"step": len(accuracies), "val.top1": accuracies[-1]})
    job = Job(variant, seed, cast(Spec, None), Path(f"{variant}-seed{seed}"))
    return Run(job, state, len(accuracies), records, ["cpu"])


def found(*runs: Run) -> Results:
    names = list(dict.fromkeys(one.job.variant for one in runs))
    variants = [Variant(name, Path("a.net"), {}) for name in names]
    sweep = Sweep("s", Path("s.yaml"), "title", "", variants, [0, 1], [UNTIL, LAST])
    return results(sweep, {name: [one for one in runs if one.job.variant == name] for name in names})


@pytest.mark.parametrize(("count", "t"), [(2, 12.706), (3, 4.303), (5, 2.776), (10, 2.262), (31, 2.042)])
def test_the_interval_is_that_of_the_tables_of_student(count: int, t: float) -> None:
    values = np.random.default_rng(count).normal(3, 2, count)
    one = mean(values.tolist())
    half = t * values.std(ddof=1) / count**0.5
    assert one.low is not None
    assert one.high is not None
    assert (one.count, one.mean) == (count, pytest.approx(values.mean()))
    assert (one.high - one.mean, one.mean - one.low) == (pytest.approx(half, rel=3e-4), pytest.approx(half, rel=3e-4))


def test_one_seed_has_no_interval() -> None:
    assert (mean([7.0]).mean, mean([7.0]).low, mean([7.0]).high) == (7.0, None, None)


def test_ratios_and_differences_go_seed_by_seed() -> None:
    first, other = [100.0, 200.0, 400.0], [300.0, 600.0, 1200.0]
    for end in (ratio(other, first).mean, ratio(other, first).low, ratio(other, first).high):
        assert end == pytest.approx(3)
    there, back = ratio([10, 30, 20], first), ratio(first, [10, 30, 20])
    assert there.mean == pytest.approx(1 / back.mean)
    assert there.low is not None
    assert back.high is not None
    assert there.low == pytest.approx(1 / back.high)
    assert difference([1.5, 2.5, 3.5], [1, 2, 3]).low == pytest.approx(0.5)


def test_running_means_and_the_step_that_they_belong_to() -> None:
    steps, values = series([{"step": i, "top1": 1 - i} for i in (1, 2, 3, 4)] + [{"step": 4, "val.top1": 0.5}], "error")
    assert (steps.tolist(), values.tolist()) == ([1, 2, 3, 4], [1, 2, 3, 4])
    steps, values = running(steps, values, 3)
    assert (steps.tolist(), values.tolist()) == ([3, 4], [2, 3])
    assert not len(running(steps, values, 3)[0])


def test_steps_until_a_bound_are_those_of_the_running_mean() -> None:
    cells = found(run("a", 0, [0.0, 0.8, 0.5, 0.8, 0.72, 0.9]), run("b", 0, [0.75, 0.75, 0.0])).cells
    assert cells["a", "steps"].values[0].number == 5
    assert cells["b", "steps"].values[0].number == 2
    against = cells["b", "steps"].against
    assert against is not None
    assert against.mean == pytest.approx(2 / 5)


def test_a_seed_that_failed_is_never_left_out_of_a_mean() -> None:
    """A run that diverged after it had met the bound counts as diverged, one that never met it as such."""
    good, bad = [0.8, 0.8, 0.9], [0.1, 0.1, 0.1]
    one = found(
        run("a", 0, good), run("a", 1, good),
        run("b", 0, good), run("b", 1, good, DIVERGED),
        run("c", 0, good), run("c", 1, bad),
    )  # fmt: skip
    head, *body = rows(one)
    assert head == ["measure", "variant", "seeds", "mean and interval", "against a"]
    shown = {(body[i // 3 * 3][0], row[1]): row[2:] for i, row in enumerate(body)}
    assert shown["steps", "a"] == ["2", "2 [2, 2]", "-"]
    assert shown["steps", "b"] == ["1 of 2", "diverged (1 of 2; others 2)", "-"]
    assert shown["steps", "c"] == ["2", "not reached in 3 steps (1 of 2; others 2)", "-"]
    assert shown["end", "b"] == ["1 of 2", "diverged (1 of 2; others 90.00%)", "-"]
    assert shown["end", "c"][2] == "-40.00 [-548.25, +468.25] points"
    assert "b, seed 1: diverged at step 3." in notes(one)
    assert "c, seed 1: steps: not reached in 3 steps." in notes(one)


def test_what_is_not_over_is_said_and_the_rest_counts() -> None:
    one = found(run("a", 0, [0.8, 0.9]), run("a", 1, [0.5, 0.6], UNFINISHED))
    assert not one.complete
    assert rows(one)[2][2:] == ["1 of 2", "90.00%"]
    assert "a, seed 1: unfinished at step 2." in notes(one)


def test_what_was_amiss_with_a_run_is_said_once_for_all_its_seeds() -> None:
    ill: list[dict[str, Any]] = [{"step": 2, "health": kind, "layer": "fc"} for kind in ("dead", "flat")]
    runs = [replace(one, records=[*one.records, *ill]) for one in (run("a", 0, [0.8, 0.9]), run("a", 1, [0.8, 0.7]))]
    assert notes(found(*runs))[-1] == "a, seed 0, 1: health: dead in fc, flat in fc."


def test_the_picture_has_a_band_and_a_line_for_each_variant() -> None:
    ups = np.linspace(0.1, 0.9, 60)
    one = found(run("a", 0, ups), run("a", 1, ups**2), run("b", 0, ups**3), run("b", 1, ups**4))
    drawn = picture(one)
    assert drawn is not None
    pixels = np.asarray(drawn, np.int64).reshape(-1, 3)
    for colour in COLOURS[:2]:
        pale = [round(255 + BAND / 255 * (part - 255)) for part in colour]
        assert (pixels == colour).all(1).sum() > 300
        assert (abs(pixels - pale) <= 1).all(1).sum() > 1000
    assert not (pixels == COLOURS[2]).all(1).any()
