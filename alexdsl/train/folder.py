"""The run folder: the spec as it was run, the program's text, metrics as JSON lines, checkpoints, pictures."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexdsl.files import read_json, remove_scratch, whole_file, write_whole
from alexdsl.language import SpecError, read_source
from alexdsl.train.checkpoint import BrokenCheckpointError, CheckpointError, checkpoints

NEWEST = ".newest"
"""Beside runs, the name of the newest. Clocks are set back; where the file is missing, they must do."""


class RunError(Exception):
    """A run cannot start or go on; the message is one sentence for the user."""


class BusyError(RunError):
    """Another process holds the run."""


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
        """The run of a folder that was last begun or gone on with. Raises RunError where there is none."""
        try:
            return cls.open(base / (base / NEWEST).read_text())
        except (OSError, ValueError, RunError):
            runs = [path.parent for path in base.glob("*/run.json")]
        if not runs:
            raise RunError(f"there is no run to resume in {base}; name its folder: --resume DIR")
        return cls(max(runs, key=_written))

    def change(self, overrides: Mapping[str, str], spec: str, program: str) -> None:
        """Write what the run is from now on."""
        self.describe({**self.facts, "overrides": dict(overrides)}, spec, program)

    def become_newest(self) -> None:
        """Let ``newest`` find this one."""
        with suppress(OSError):  # a convenience
            write_whole(self.path.parent / NEWEST, self.path.name)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from training here, and clear away what a killed one left half written.

        Raises BusyError.
        """
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(f"another process is training in {self.path}; end it before you go on") from None
            except OSError:
                pass  # a file system without locks
            for folder in (self.path, self.checkpoints):
                remove_scratch(folder)
            yield
        finally:
            os.close(handle)

    def describe(self, facts: Mapping[str, Any], spec: str, program: str) -> None:
        """Write what the run is; ``run.json`` comes last, so that a folder with it is complete."""
        write_whole(self.path / "spec.net", spec)
        write_whole(self.path / "program.ir", program)
        write_whole(self.path / "run.json", json.dumps(facts, indent=1))

    @property
    def facts(self) -> dict[str, Any]:
        """What ``run.json`` says. Raises RunError."""
        try:
            found: Any = read_json(self.path / "run.json")
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / 'run.json'} cannot be read: {error}") from error
        kinds = {"spec": str, "overrides": dict, "seed": int}
        if not isinstance(found, dict) or not all(isinstance(found.get(n), kind) for n, kind in kinds.items()):
            raise RunError(f"{self.path / 'run.json'} does not say what the run is: spec, overrides and seed")
        wrong = [name for name, right in _RIGHT.items() if name in found and not right(found[name])]
        if wrong:
            raise RunError(f"{self.path / 'run.json'} says something else than it should by {', '.join(wrong)}")
        return found

    @property
    def spec_text(self) -> str:
        """The spec as it was run. Raises RunError."""
        try:
            return read_source(self.path / "spec.net").text
        except SpecError as error:
            raise RunError(str(error).removeprefix("error: ")) from error
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / 'spec.net'} cannot be read: {error}") from error

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def last_checkpoint(self) -> Path | None:
        """The newest whole checkpoint."""
        return next(reversed(checkpoints(self.checkpoints)), None)

    @contextmanager
    def reading(self, checkpoint: Path) -> Iterator[None]:
        """Tells how to go on without the newest checkpoint where that turns out to be broken."""
        try:
            yield
        except BrokenCheckpointError as error:
            older = checkpoints(self.checkpoints)[:-1]
            start = older[-1].name if older else "its beginning"
            raise CheckpointError(f"{error}; without it the run goes on from {start}: rm -r {checkpoint}") from error

    def log(self, record: Mapping[str, Any]) -> None:
        """Append a line to the metrics. Raises RunError where the disk does not take it."""
        try:
            with (self.path / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise RunError(f"cannot write {self.path / 'metrics.jsonl'}: {error.strerror}") from error

    def records(self) -> Iterator[dict[str, Any]]:
        """The metrics, line by line; what is no record of a step, such as a line cut short, is left out."""
        try:
            with (self.path / "metrics.jsonl").open(errors="replace") as file:
                while line := file.readline(_MOST_LINE):
                    with contextlib.suppress(ValueError, RecursionError):
                        record = json.loads(line)
                        if isinstance(record, dict) and _is_record(record):
                            yield record
        except FileNotFoundError:
            return

    @property
    def written(self) -> float:
        """When the run was last written to, in seconds since 1970."""
        return _written(self.path)

    def rewind(self, step: int, due: bool = False) -> None:
        """Drop metrics of steps after ``step``, its validation if that is still ``due``, and a line cut short."""
        with whole_file(self.path / "metrics.jsonl") as kept:
            for record in self.records():
                if record["step"] < step or (record["step"] == step and not (due and "val.images" in record)):
                    kept.write(json.dumps(record).encode() + b"\n")


_MOST_LINE = 1 << 20
"""Letters of a line of the metrics; a longer one is none."""
_RIGHT: Mapping[str, Callable[[Any], bool]] = {
    "overrides": lambda found: _texts(found),
    "devices": lambda found: _texts(found),
    "strategies": lambda found: _texts(found),
    "init_from": lambda found: isinstance(found, str),
    "seed": lambda found: not isinstance(found, bool) and abs(found) < 1 << 53,
    "save_every": lambda found: isinstance(found, int) and found > 0,
    "keep": lambda found: isinstance(found, int) and found > 0,
}
"""Whether what ``run.json`` says may stand there."""


def _texts(found: Any) -> bool:
    return isinstance(found, dict) and all(isinstance(value, str) for value in found.values())


def _is_record(found: Mapping[str, Any]) -> bool:
    """Whether a line of the metrics says something of a step."""
    numbers = (value for name, value in found.items() if name in ("step", "loss") or name.startswith("val."))
    return isinstance(found.get("step"), int) and all(isinstance(value, int | float) for value in numbers)


def find_checkpoint(path: Path) -> Path:
    """A checkpoint by its own folder, or the newest of a run's. Raises RunError."""
    if (path / "state.json").exists():
        return path
    if not (path / "run.json").exists():
        raise RunError(f"{path} is neither a checkpoint's folder (with a state.json) nor a run's (with a run.json)")
    last = RunFolder(path).last_checkpoint()
    if last is None:
        raise RunError(f"the run {path} has no checkpoint yet")
    return last


def _written(run: Path) -> float:
    """When a run was last written to."""
    return max(path.stat().st_mtime for path in (run / "metrics.jsonl", run / "run.json") if path.exists())
