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
from alexdsl.ir.protocol import Array
from alexdsl.program import Program
from alexdsl.train.files import write_folder, write_whole

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
