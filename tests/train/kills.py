"""Runs in processes of their own, to be killed at chosen moments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tests.train.runs import words

DRIVER = Path(__file__).with_name("killed_run.py")
MARK = "ALEXDSL_TEST_RUN"


def drive(folder: Path, moment: str, more: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start the run or go on with it, to be killed at a moment of ``killed_run``; ``more`` are leaves to override."""
    return subprocess.Popen(
        [sys.executable, str(DRIVER), moment, str(folder), *words(folder, more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, MARK: str(folder), "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def output_of(
    folder: Path, moment: str, more: Mapping[str, str] | None = None, seconds: float | None = None
) -> str | None:
    """What the run said until its end; none where it was killed, at the moment or after so many seconds. No process of
    it is left. Raises AssertionError where it ended otherwise."""
    with drive(folder, moment, more or {}) as process:
        if seconds is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            process.kill()
        output, _ = process.communicate(timeout=300)
    wait_for_workers(folder)
    if process.returncode == 1 and moment.startswith("worker:"):
        assert "was killed by SIGKILL" in output, output
        return None
    assert process.returncode in (0, -signal.SIGKILL), f"{moment}: exit code {process.returncode}\n{output}"
    return output if process.returncode == 0 else None


def killed(folder: Path, moment: str) -> bool:
    """Run until the moment; false where it did not come."""
    return output_of(folder, moment) is None


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
