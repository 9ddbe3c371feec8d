"""Checkpoints: weights and state as safetensors, the rest as JSON, in a folder that is whole or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from alexdsl.data.statistics import Statistics
from alexdsl.files import write_folder, write_whole
from alexdsl.ir.protocol import Array
from alexdsl.program import Program, leaves

FORMAT = 2
"""What ``version`` in state.json is now; 1, without ``about``, is read too."""


class CheckpointError(Exception):
    """A checkpoint cannot be read or does not fit; the message says what differs."""


class BrokenCheckpointError(CheckpointError):
    """A checkpoint's files are damaged or missing."""


@dataclass(frozen=True)
class State:
    """What a checkpoint knows beside arrays: how far training is, and what predicting needs.

    ``validations``: the metrics of each and its ``step``. ``due``: the step's validation was broken off, and comes
    first when the run goes on. ``about``: see ``alexdsl.train.about``; nothing hangs on it.
    """

    step: int
    spec: str
    overrides: Mapping[str, str]
    seed: int
    net: str
    classes: Sequence[str]
    validations: Sequence[Mapping[str, float]] = field(default_factory=list)
    due: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)
    version: int = FORMAT


def save_checkpoint(folder: Path, program: Program, state: State, statistics: Statistics) -> Path:
    """Write ``folder/step-00000100``; returns it. Raises OSError, and then no half checkpoint is left."""
    target = folder / f"step-{state.step:08}"

    def fill(scratch: Path) -> None:
        measured = {name: value for name, value in vars(statistics).items() if value is not None}
        for name, arrays in (("weights", program.weights), ("state", program.state), ("data", measured)):
            _write(scratch / f"{name}.safetensors", arrays)
        write_whole(scratch / "state.json", json.dumps(asdict(state), indent=1))

    write_folder(target, fill)
    return target


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints of a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / "state.json").exists())


def read_state(path: Path) -> State:
    """A checkpoint's state. Raises CheckpointError."""
    try:
        found: Any = json.loads((path / "state.json").read_text())
        if not isinstance(found, dict) or not isinstance(found.get("step"), int):
            raise ValueError("state.json does not say how far training is")
        if found.get("version") not in range(1, FORMAT + 1):
            raise CheckpointError(
                f"{path} was written by another version of alexdsl (format {found.get('version')}, not {FORMAT})"
            )
        return State(**found)
    except (OSError, ValueError, TypeError) as error:
        raise BrokenCheckpointError(f"{path} is not a checkpoint that can be read: {error}") from error


def read_statistics(path: Path) -> Statistics:
    """The mean and principal components that the net was trained with."""
    arrays = _arrays(path / "data.safetensors")
    return Statistics(arrays.get("mean"), arrays.get("eigenvalues"), arrays.get("eigenvectors"))  # type: ignore[arg-type]


def restore(path: Path, program: Program, *, with_state: bool = True) -> None:
    """Put a checkpoint's arrays into a program. Raises CheckpointError with all that differs; then nothing changes."""
    pairs = [(program.weights, _arrays(path / "weights.safetensors"))]
    if with_state:
        pairs.append((program.state, _arrays(path / "state.safetensors")))
    differences: list[str] = []
    for mapping, arrays in pairs:
        differences += [f"{name}: not in the checkpoint" for name in mapping if name not in arrays]
        differences += [f"{name}: not in the net" for name in arrays if name not in mapping]
        differences += [
            f"{name}: {list(arrays[name].shape)} in the checkpoint, {list(mapping.shape(name))} in the net"
            for name in mapping
            if name in arrays and arrays[name].shape != mapping.shape(name)
        ]
    if differences:
        shown = "\n  ".join(differences[:12] + ([f"and {len(differences) - 12} more"] if len(differences) > 12 else []))
        raise CheckpointError(f"{path} is a checkpoint of another net:\n  {shown}")
    for mapping, arrays in pairs:
        for name in mapping:
            mapping[name] = arrays[name]


@dataclass(frozen=True)
class Taken:
    """What came of taking a checkpoint's arrays by name: those that fit, those of another shape (each with both), those
    that only the net has, those that only the checkpoint has."""

    fit: Sequence[str]
    shapes: Mapping[str, tuple[Sequence[int], Sequence[int]]]
    new: Sequence[str]
    unused: Sequence[str]

    @property
    def lines(self) -> list[str]:
        """For people: first how many fit, then all that do not."""
        count = len(self.fit) + len(self.shapes) + len(self.new)
        return [
            f"{len(self.fit)} of {count} arrays taken by name" + (f": {', '.join(self.fit)}" if self.fit else ""),
            *(f"{n}: {list(a)} there, {list(b)} here, drawn anew" for n, (a, b) in self.shapes.items()),
            *(f"{name}: not there, drawn anew" for name in self.new),
            *(f"{name}: not here, left out" for name in self.unused),
        ]


def take_weights(path: Path, program: Program) -> Taken:
    """Put those of a checkpoint's weights into a program whose name and shape fit, and with them what layers keep of
    what they saw (running statistics), but not what the solver keeps. Raises CheckpointError."""
    kept = leaves(program.graph("predict"), "state")
    there = _arrays(path / "weights.safetensors")
    there |= {name: array for name, array in _arrays(path / "state.safetensors").items() if name in kept}
    here = dict.fromkeys(program.weights, program.weights) | dict.fromkeys(kept, program.state)
    known = [name for name in here if name in there]
    fit = [name for name in known if there[name].shape == here[name].shape(name)]
    for name in fit:
        here[name][name] = there[name]
    shapes = {name: (there[name].shape, here[name].shape(name)) for name in known if name not in fit}
    return Taken(fit, shapes, [n for n in here if n not in there], [n for n in there if n not in here])


def _write(path: Path, arrays: Mapping[str, Array]) -> None:
    try:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    except SafetensorError as error:  # what the disk says comes as text
        raise OSError(str(error)) from error


def _arrays(path: Path) -> dict[str, Array]:
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise BrokenCheckpointError(f"{path} cannot be read: {error}") from error
