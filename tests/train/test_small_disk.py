"""A run on a disk that is too small: it ends with a sentence wherever the space runs out, and goes on with more."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from alexdsl.cli import main
from tests.train.runs import assert_same, finish, words


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, in memory."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be had here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def resize(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(disk)], check=True)


@pytest.mark.parametrize("kilobytes", [4, 64, 400, 700, 1100, 1600])
def test_space_runs_out(kilobytes: int, disk: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = disk / "run"
    resize(disk, kilobytes)
    assert main(["run", *words(folder)]) == 1
    told = capsys.readouterr().err
    assert "No space left on device" in told
    assert str(folder) in told
    assert "Traceback" not in told
    resize(disk, 64 << 10)
    finish(folder)
    assert_same(folder, whole)
