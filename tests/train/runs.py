"""A short run with frequent validations and checkpoints, and what it leaves, for tests of what may befall it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from alexdsl.cli import main
from alexdsl.train.events import FOLDER

SPEC = "specs/lenet5.net"
STEPS = 24
ARGS = (
    "--steps", str(STEPS), "--save-every", "3", "--set", "solver.validate=4", "--set", "data.batch=32",
    "--set", "data.val=split(2%)",
)  # fmt: skip


def words(folder: Path, more: Mapping[str, str] | None = None) -> list[str]:
    """What starts the run, with more leaves overridden, or goes on with it where it has begun."""
    if (folder / "run.json").exists():
        return ["--resume", str(folder)]
    settings = [word for name, value in (more or {}).items() for word in ("--set", f"{name}={value}")]
    return [SPEC, "--out", str(folder), *ARGS, *settings]


def finish(folder: Path) -> None:
    """Go on, undisturbed, to the end."""
    assert main(["run", *words(folder)]) == 0


def content(folder: Path) -> dict[str, object]:
    """Every file of a run folder with its bytes; the metrics without what a clock says."""
    found: dict[str, object] = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != FOLDER  # events say when they were written
    }
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found["metrics.jsonl"] = [{name: v for name, v in line.items() if name != "val.seconds"} for line in lines]
    return found


def assert_same(folder: Path, whole: Path) -> None:
    found, due = content(folder), content(whole)
    assert sorted(found) == sorted(due)
    assert [name for name in due if found[name] != due[name]] == []
