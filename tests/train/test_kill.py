"""A run that is killed at any moment, and again while it goes on, ends as the one that nothing happened to."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.train.runs import STEPS, assert_same, finish, words

DRIVER = Path(__file__).with_name("killed_run.py")
MARK = "ALEXDSL_TEST_RUN"

AIMED = {
    "while the program is compiled": "alexdsl.program:Program._initialise:1",
    "before the first step": "alexdsl.program:Program.step:1",
    "in the first step, before it is logged": "alexdsl.train.folder:RunFolder.log:1",
    "with batches under way": "alexdsl.program:Program.step:8",
    "in the first validation": "alexdsl.program:Program.evaluate:2",
    "in a later validation": "alexdsl.program:Program.evaluate:14",
    "after a validation, before its checkpoint": "alexdsl.train.loop:Trainer.save:2",
    "in the last validation": "alexdsl.program:Program.evaluate:30",
    "before the last validation is logged": f"alexdsl.train.folder:RunFolder.log:{STEPS + STEPS // 4}",
    "right after 'done'": "alexdsl.program:Program.close:1",
    "in the middle of the weights": "half:4",
    "in the middle of the solver's state": "half:5",
    "in the middle of the last weights": f"half:{3 * (STEPS // 4 + STEPS // 3 - STEPS // 12) - 2}",
}


def drive(folder: Path, moment: str) -> subprocess.Popen[str]:
    """Start the run or go on with it in a process of its own, to be killed at a moment."""
    return subprocess.Popen(
        [sys.executable, str(DRIVER), moment, str(folder), *words(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, MARK: str(folder), "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def killed(folder: Path, moment: str) -> bool:
    """Run until the moment; false where it did not come. No process of the run is left."""
    with drive(folder, moment) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), output
    wait_for_workers(folder)
    return process.returncode != 0


def processes(folder: Path) -> Iterator[str]:
    """The command lines of the processes that a run of this folder has started."""
    mark = f"{MARK}={folder}\0".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes() + b"\0" and (entry / "cmdline").read_bytes():
                yield f"{entry.name}: {(entry / 'cmdline').read_bytes()!r}"
        except OSError:
            continue


def wait_for_workers(folder: Path) -> None:
    end = time.monotonic() + 10
    while (left := list(processes(folder))) and time.monotonic() < end:
        time.sleep(0.02)
    assert not left


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


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again_between_two_operations_on_files(seed: int, folder: Path, whole: Path) -> None:
    chance = random.Random(seed)
    kills = 0
    while killed(folder, f"file:{chance.randint(1, 150)}"):
        kills += 1
        assert kills < 60
        names = [path.name for path in folder.rglob(".*")]
        assert len(names) <= 2, f"left-overs pile up: {names}"
    finish(folder)
    assert kills >= 2
    assert_same(folder, whole)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again_at_any_time(seed: int, folder: Path, whole: Path) -> None:
    chance = random.Random(seed)
    began = time.monotonic()
    assert not killed(folder.with_name("timed"), "file:0")
    longest = time.monotonic() - began
    for _ in range(5):
        with drive(folder, "file:0") as process:
            time.sleep(chance.uniform(0, longest))
            process.kill()
        wait_for_workers(folder)
    finish(folder)
    assert_same(folder, whole)
