"""What schedulers, terminals, disks, clocks and people do to a run: it ends clearly, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alexdsl.cli import main
from alexdsl.data.loader import Loader
from alexdsl.train.loop import Trainer
from tests.train.kills import killed
from tests.train.runs import assert_same, finish, words
from tests.train.test_run import wait_for_step

SECONDS = 5
"""In which a run has saved and ended, a step aside."""
COMMAND = [sys.executable, "-m", "alexdsl.cli", "run"]


def checkpoint_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("checkpoints/*/*")}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_ends_the_run_soon(number: signal.Signals, folder: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, *words(folder), "--steps", "100000", "--save-every", "100000", "--set", "solver.validate=100000"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        wait_for_step(folder, 5, process)
        began = time.monotonic()
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
        took = time.monotonic() - began
    assert process.returncode == 130, output
    steps = (folder / "metrics.jsonl").read_text().count("\n")
    assert [path.name for path in (folder / "checkpoints").iterdir()] == [f"step-{steps:08}"]
    assert f"stopped after step {steps} and saved" in output
    assert took < SECONDS


def test_a_terminal_that_goes_away_is_survived(folder: Path, whole: Path) -> None:
    terminal, end = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *words(folder)], stdin=end, stdout=end, stderr=end, start_new_session=True,
        preexec_fn=lambda: _controlled_by(0),
    ) as process:  # fmt: skip
        os.close(end)
        wait_for_step(folder, 5, process)
        os.close(terminal)
        process.wait(60)
    assert process.returncode == 130
    logged = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    assert max(path.name for path in (folder / "checkpoints").iterdir()) == f"step-{logged:08}"
    finish(folder)
    assert_same(folder, whole)


def _controlled_by(handle: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(handle, termios.TIOCSCTTY, 0)


def test_files_that_may_not_grow(folder: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As on a disk that is full, but by the kernel's own word: arrays do not fit into what a file may hold."""
    assert killed(folder, "alexdsl.program:Program.start:8")
    before = checkpoint_bytes(folder)
    limit, most = max(map(len, before.values())) // 2, resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Trainer, "run", _at(1, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most[1])), Trainer.run)
        )
        try:
            assert main(["run", *words(folder)]) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, most)
    told = capsys.readouterr().err
    assert "cannot write a checkpoint into" in told
    assert "File too large" in told
    assert checkpoint_bytes(folder) == before
    assert not list(folder.rglob(".*"))
    finish(folder)
    assert_same(folder, whole)


def test_a_folder_that_has_become_read_only(folder: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert killed(folder, "alexdsl.program:Program.start:8")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    opened = Path.open

    def read_only(path: Path, mode: str = "r", *more: Any, **options: Any) -> Any:
        if mode[0] in "wa" and folder in path.parents:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, mode, *more, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", read_only)
        assert main(["run", *words(folder)]) == 1
    assert "Read-only file system" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    finish(folder)
    assert_same(folder, whole)


def test_a_clock_that_is_set_back(folder: Path, whole: Path) -> None:
    assert killed(folder, "alexdsl.program:Program.start:14")
    ahead = time.time() + 10**6
    for i, path in enumerate(sorted(folder.rglob("*"))):
        os.utime(path, (ahead - 1000 * i, ahead - 1000 * i))
    finish(folder)
    assert_same(folder, whole)


def _photographs(folder: Path) -> None:
    from PIL import Image

    for i in range(60):
        path = folder / str(i % 10) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), 4 * i).save(path)


@pytest.mark.parametrize("when", ["between", "during"])
def test_a_data_set_that_is_removed(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    _photographs(tmp_path / "photos")
    source = f'data.source=folder("{tmp_path / "photos"}")'
    sets = ["--set", source, "--set", "data.val=split(20%)", "--set", "data.batch=8"]

    def run(folder: Path) -> int:
        return main(["run", *words(folder), *([] if (folder / "run.json").exists() else sets)])

    assert run(tmp_path / "whole") == 0
    folder, away = tmp_path / "run", tmp_path / "away"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loader, "batch", _at(9, lambda: (tmp_path / "photos").rename(away), Loader.batch))
        assert run(folder) == 2
    assert "has gone since its folder was listed" in capsys.readouterr().err
    saved = checkpoint_bytes(folder)
    assert max(saved) > "checkpoints/step-00000006"
    if when == "between":
        assert run(folder) == 2
        assert "there is no folder" in capsys.readouterr().err
        assert checkpoint_bytes(folder) == saved
    away.rename(tmp_path / "photos")
    assert run(folder) == 0
    assert_same(folder, tmp_path / "whole")


def _at(number: int, happens: Callable[[], object], function: Callable[..., Any]) -> Callable[..., Any]:
    """A method before whose N-th call something happens."""
    calls = iter(range(1, 10**6))

    def changed(*args: Any) -> Any:
        if next(calls) == number:
            happens()
        return function(*args)

    return changed
