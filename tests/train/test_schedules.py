"""Schedules: the learning rate's factor as training goes on."""

from __future__ import annotations

import pytest

from alexdsl.ir.protocol import Progress
from alexdsl.registry import registry

SCHEDULES = registry().schedules


@pytest.mark.parametrize(("unit", "every"), [("epochs", 2), ("steps", 20)])
def test_step_drops_every_so_often(unit: str, every: int) -> None:
    attrs = {"every": every, "factor": 0.1, "unit": unit}
    found = [SCHEDULES["step"].factor(Progress(10 * i, i, []), attrs) for i in range(5)]
    assert found == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_exponential_falls_by_as_much_as_step() -> None:
    attrs = {"every": 2, "factor": 0.25, "unit": "epochs"}
    found = [SCHEDULES["exponential"].factor(Progress(10 * i, i, []), attrs) for i in range(5)]
    assert found == pytest.approx([1, 0.5, 0.25, 0.125, 0.0625])


@pytest.mark.parametrize(
    ("name", "attrs", "expected"),
    [
        ("poly", {"power": 1.0}, [1, 0.75, 0.5, 0.25, 0, 0]),
        ("poly", {"power": 2.0}, [1, 0.5625, 0.25, 0.0625, 0, 0]),
        ("cosine", {"floor": 0.0}, [1, 0.853553, 0.5, 0.146447, 0, 0]),
        ("cosine", {"floor": 0.2}, [1, 0.882843, 0.6, 0.317157, 0.2, 0.2]),
    ],
)
def test_schedules_that_end_with_the_run(name: str, attrs: dict[str, float], expected: list[float]) -> None:
    found = [SCHEDULES[name].factor(Progress(step, 0, [], steps=4), attrs) for step in range(6)]
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("rises", "values"), [(True, [0.1, 0.3, 0.3, 0.2, 0.4, 0.1, 0.2]), (False, [9, 7, 7, 8, 6, 9, 8])]
)
def test_plateau_drops_when_nothing_got_better(rises: bool, values: list[float]) -> None:
    attrs = {"metric": "val.a", "factor": 0.5, "patience": 2, "rises": rises}
    seen = [{"a": value} for value in values]
    found = [SCHEDULES["plateau"].factor(Progress(i, i, seen[:i]), attrs) for i in range(len(values) + 1)]
    assert found == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25]
