"""Checkpoints: weights and state as safetensors, the rest as JSON, in a folder that is whole or not there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from alexdsl.data.statistics import Statistics
from alexdsl.files import read_json, write_folder, write_whole
from alexdsl.ir.protocol import Array
from alexdsl.program import Program, leaves

FORMAT = 2
"""What ``version`` in state.json is now; 1, without ``about``, is read too."""

_MOST_HEADER = 1 << 24
"""Bytes of what a file of arrays says of them."""
_MOST_STATISTICS = 1 << 28
"""Bytes of mean and principal components."""
_LARGEST = 1 << 53
"""No step or seed comes near; beyond it numbers of JSON are not exact everywhere."""


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
        found: Any = read_json(path / "state.json")
        if not isinstance(found, dict) or not _is_count(found.get("step")):
            raise ValueError("state.json does not say how far training is")
        if found.get("version") not in range(1, FORMAT + 1):
            raise CheckpointError(
                f"{path} was written by another version of alexdsl (format {found.get('version')}, not {FORMAT})"
            )
        state = State(**found)
        wrong = [name for name, right in _right(state).items() if not right]
        if wrong:
            raise ValueError(f"state.json says something else than it should by {', '.join(wrong)}")
        return state
    except (OSError, ValueError, TypeError) as error:
        raise BrokenCheckpointError(f"{path} is not a checkpoint that can be read: {error}") from error


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def _right(state: State) -> dict[str, bool]:
    """By field, whether it is what it should be: another program may have written it."""

    def texts(values: object) -> bool:
        return isinstance(values, list) and all(isinstance(value, str) for value in values)

    def numbers(values: object) -> bool:
        return isinstance(values, dict) and all(isinstance(value, int | float) for value in values.values())

    overrides, versions = state.overrides, isinstance(state.about, dict) and state.about.get("versions", {})
    return {
        "spec": isinstance(state.spec, str),
        "overrides": isinstance(overrides, dict) and texts([*overrides.values()]),
        "seed": isinstance(state.seed, int) and _is_count(abs(state.seed)),
        "net": isinstance(state.net, str),
        "classes": texts(state.classes),
        "validations": isinstance(state.validations, list)
        and all(numbers(one) and _is_count(one.get("step")) for one in state.validations),
        "due": isinstance(state.due, bool),
        "about": isinstance(versions, dict),
    }


def read_statistics(path: Path) -> Statistics:
    """The mean and principal components that the net was trained with. Raises CheckpointError."""
    file = path / "data.safetensors"
    with open_arrays(file) as arrays:
        if any(int(np.prod(shape, dtype=object)) * 8 > _MOST_STATISTICS for shape in arrays.shapes.values()):
            raise BrokenCheckpointError(f"{file} holds more than a mean and principal components")
        found = {name: arrays[name] for name in ("mean", "eigenvalues", "eigenvectors") if name in arrays.shapes}
    return Statistics(found.get("mean"), found.get("eigenvalues"), found.get("eigenvectors"))  # type: ignore[arg-type]


def restore(path: Path, program: Program, *, with_state: bool = True) -> None:
    """Put a checkpoint's arrays into a program. Raises CheckpointError with all that differs; then nothing changes."""
    with ExitStack() as files:
        pairs = [(program.weights, files.enter_context(open_arrays(path / "weights.safetensors")))]
        if with_state:
            pairs.append((program.state, files.enter_context(open_arrays(path / "state.safetensors"))))
        differences: list[str] = []
        for mapping, arrays in pairs:
            differences += [f"{name}: not in the checkpoint" for name in mapping if name not in arrays.shapes]
            differences += [f"{name}: not in the net" for name in arrays.shapes if name not in mapping]
            differences += [
                f"{name}: {list(arrays.shapes[name])} in the checkpoint, {list(mapping.shape(name))} in the net"
                for name in mapping
                if name in arrays.shapes and arrays.shapes[name] != mapping.shape(name)
            ]
        if differences:
            more = [f"and {len(differences) - 12} more"] if len(differences) > 12 else []
            shown = "\n  ".join([*differences[:12], *more])
            raise CheckpointError(f"{path} is a checkpoint of another net:\n  {shown}")
        for mapping, arrays in pairs:
            for name in mapping:
                mapping[name] = arrays[name]


def restore_kept(path: Path, program: Program) -> None:
    """Put those of a checkpoint's arrays of state into a program that it has, such as running statistics. Raises
    CheckpointError."""
    with open_arrays(path / "state.safetensors") as arrays:
        for name in program.state:
            if arrays.shapes.get(name) != program.state.shape(name):
                due = list(program.state.shape(name))
                raise CheckpointError(f"{path} does not fit: the net has {name} {due}, it has none such")
            program.state[name] = arrays[name]


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
    here = dict.fromkeys(program.weights, program.weights) | dict.fromkeys(kept, program.state)
    with (
        open_arrays(path / "weights.safetensors") as weights,
        open_arrays(path / "state.safetensors") as state,
    ):
        there = dict.fromkeys(weights.shapes, weights) | {n: state for n in state.shapes if n in kept}
        known = [name for name in here if name in there]
        fit = [name for name in known if there[name].shapes[name] == here[name].shape(name)]
        for name in fit:
            here[name][name] = there[name][name]
        shapes = {n: (there[n].shapes[n], here[n].shape(n)) for n in known if n not in fit}
    return Taken(fit, shapes, [n for n in here if n not in there], [n for n in there if n not in here])


def _write(path: Path, arrays: Mapping[str, Array]) -> None:
    try:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    except SafetensorError as error:  # what the disk says comes as text
        raise OSError(str(error)) from error


@dataclass(frozen=True)
class Arrays:
    """The arrays of a file by their names: shapes are known, and an array takes memory only when it is asked for."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    file: Any

    def __getitem__(self, name: str) -> Array:
        """Raises BrokenCheckpointError."""
        try:
            found: Array = self.file.get_tensor(name)
            return found
        except _UNREADABLE as error:
            raise BrokenCheckpointError(f"{self.path} cannot be read: {error}") from error


_UNREADABLE = (MemoryError, OSError, SafetensorError, TypeError, ValueError, KeyError, AttributeError)


@contextmanager
def open_arrays(path: Path) -> Iterator[Arrays]:
    """A safetensors file, open. Raises BrokenCheckpointError."""
    with ExitStack() as held:
        try:
            with path.open("rb") as raw:
                header = int.from_bytes(raw.read(8), "little")
            if header > _MOST_HEADER:
                raise ValueError(f"it begins with a header of {header:,} bytes")
            file = held.enter_context(safe_open(path, framework="numpy"))
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except _UNREADABLE as error:
            raise BrokenCheckpointError(f"{path} cannot be read: {error}") from error
        yield Arrays(path, shapes, file)
