"""A run that is killed at a chosen moment ends as the one that nothing happened to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.kills import killed
from tests.train.runs import STEPS, assert_same, finish

AIMED = {
    "while the program is compiled": "alexdsl.program:Program._initialise:1",
    "before the first step": "alexdsl.program:Program.start:1",
    "in the first step, before it is logged": "alexdsl.train.folder:RunFolder.log:1",
    "with batches under way": "alexdsl.program:Program.start:8",
    "in the first validation": "alexdsl.program:Program.evaluate:2",
    "in a later validation": "alexdsl.program:Program.evaluate:14",
    "after a validation, before its checkpoint": "alexdsl.train.loop:Trainer.save:2",
    "in the last validation": "alexdsl.program:Program.evaluate:30",
    "before the last validation is logged": f"alexdsl.train.folder:RunFolder.log:{STEPS + STEPS // 4}",
    "right after 'done'": "alexdsl.program:Program.close:1",
    "in the middle of the weights": "arrays:4",
    "in the middle of the solver's state": "arrays:5",
    "in the middle of the last weights": f"arrays:{3 * (STEPS // 4 + STEPS // 3 - STEPS // 12) - 2}",
}


QUICK = ("in the first step, before it is logged", "in a later validation", "in the middle of the weights")


def check_aimed(name: str, folder: Path, whole: Path) -> None:
    assert killed(folder, AIMED[name]), f"the moment {AIMED[name]} does not come"
    finish(folder)
    assert_same(folder, whole)


@pytest.mark.parametrize("name", QUICK)
def test_killed_at_a_chosen_moment(name: str, folder: Path, whole: Path) -> None:
    check_aimed(name, folder, whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in AIMED if name not in QUICK])
def test_killed_at_more_chosen_moments(name: str, folder: Path, whole: Path) -> None:
    check_aimed(name, folder, whole)
