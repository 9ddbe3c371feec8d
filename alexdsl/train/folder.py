"""The run folder: the spec as it was run, the program's text, metrics as JSON lines, checkpoints, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexdsl.train.checkpoint import checkpoints
from alexdsl.train.files import write_whole


class RunError(Exception):
    """A run cannot start or go on; the message is one sentence for the user."""


@dataclass(frozen=True)
class RunFolder:
    """A run's files.

    ``spec.net`` and ``run.json`` (overrides, seed, device) are what the run is; ``program.ir`` what the compiler made;
    ``metrics.jsonl`` what happened; ``checkpoints/`` where it can go on from.
    """

    path: Path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """A new run's folder. Raises RunError where it cannot be written or holds a run already."""
        if (path / "run.json").exists():
            raise RunError(f"{path} holds a run already: --resume {path} goes on with it, --out names another folder")
        try:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
            write_whole(path / "metrics.jsonl", "")
        except OSError as error:
            raise RunError(f"cannot write the run folder {path}: {error.strerror}") from error
        return cls(path)

    @classmethod
    def next_free(cls, base: Path, name: str) -> Path:
        """``base/name-1``, or the first number that is free."""
        number = 1
        while (base / f"{name}-{number}").exists():
            number += 1
        return base / f"{name}-{number}"

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run's folder. Raises RunError."""
        if not (path / "run.json").exists():
            raise RunError(f"{path} holds no run (there is no run.json in it)")
        return cls(path)

    @classmethod
    def newest(cls, base: Path) -> RunFolder:
        """The run that was last written to. Raises RunError where there is none."""
        runs = [path.parent for path in base.glob("*/run.json")]
        if not runs:
            raise RunError(f"there is no run to resume in {base}; name its folder: --resume DIR")
        return cls(max(runs, key=lambda run: (run / "metrics.jsonl").stat().st_mtime))

    def describe(self, facts: Mapping[str, Any], spec: str, program: str) -> None:
        """Write what the run is; ``run.json`` comes last, so that a folder with it is complete."""
        write_whole(self.path / "spec.net", spec)
        write_whole(self.path / "program.ir", program)
        write_whole(self.path / "run.json", json.dumps(facts, indent=1))

    @property
    def facts(self) -> dict[str, Any]:
        """What ``run.json`` says. Raises RunError."""
        try:
            found: dict[str, Any] = json.loads((self.path / "run.json").read_text())
            return found
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / 'run.json'} cannot be read: {error}") from error

    @property
    def spec_text(self) -> str:
        return (self.path / "spec.net").read_text()

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def last_checkpoint(self) -> Path | None:
        """The newest whole checkpoint."""
        found = checkpoints(self.checkpoints)
        return found[-1] if found else None

    def log(self, record: Mapping[str, Any]) -> None:
        """Append a line to the metrics."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    def rewind(self, step: int) -> None:
        """Drop metrics of steps after ``step``, and a last line that a kill cut short."""
        kept = []
        for line in (self.path / "metrics.jsonl").read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError):
                continue
        write_whole(self.path / "metrics.jsonl", "".join(line + "\n" for line in kept))
