"""A spec compiled for a backend: its weights, and its runs as NumPy arrays in the logical layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from functools import cached_property
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from alexdsl.ir.backend import Backend, Executable, Progress, silent
from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.philox import Draws
from alexdsl.ir.protocol import Array, Registry
from alexdsl.passes.pipeline import Options, at_stage
from alexdsl.registry import backend as find_backend
from alexdsl.spec import Spec, from_source
from alexdsl.tuning import Tuned, Tuner

Floats = NDArray[np.float32]
Seen: TypeAlias = Callable[[Op, Executable], None]
"""Hears of an op that is done, and where its results can be looked at."""

DRAWN_AT_ONCE = 1 << 16
"""First weights that are drawn in one go: 512 KiB of float64."""


class Weights(MutableMapping[str, Array]):
    """Arrays by the spec's names (``conv1.weight``), whole whatever the placement; reading copies, assigning writes."""

    def __init__(self, program: Program, kind: str) -> None:
        self._program, self._kind = program, kind

    @cached_property
    def _leaves(self) -> Mapping[str, list[Op]]:
        return leaves(self._program.graph(self._program.home), self._kind)

    def __getitem__(self, name: str) -> Array:
        parts = [self._program.holder(op.name).read(op.name) for op in self._leaves[name]]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def __setitem__(self, name: str, array: Array) -> None:
        parts = self._leaves[name]
        shape = self.shape(name)
        if np.shape(array) != shape:
            raise ValueError(f"'{name}' has shape {list(shape)}, not {list(np.shape(array))}")
        for op, part in zip(parts, np.split(np.asarray(array), len(parts)), strict=True):
            self._program.holder(op.name).write(op.name, part)

    def shape(self, name: str) -> tuple[int, ...]:
        """The whole array's shape."""
        parts = self._leaves[name]
        first, *rest = self._program.graph(self._program.home).type(parts[0].name).shape
        return (first * len(parts), *rest)

    def __delitem__(self, name: str) -> None:
        raise TypeError("a program's weights cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._leaves)

    def __len__(self) -> int:
        return len(self._leaves)


def leaves(graph: Graph, kind: str) -> Mapping[str, list[Op]]:
    """The leaves of a kind by the spec's names, a tower's parts in order."""
    found: dict[str, list[Op]] = {}
    for op in graph:
        if op.kind == kind:
            found.setdefault(op.attrs.get("of", op.name), []).append(op)
    return {name: sorted(parts, key=lambda op: op.attrs.get("tower", 0)) for name, parts in found.items()}


class Program:
    """A net that runs. Modes (training, gradients, prediction) are programs of their own, loaded when first used; the
    weights go from one to the next."""

    home = "train"

    def __init__(
        self,
        spec: Spec,
        backend: Backend,
        *,
        device: str | Mapping[str, str] | None = None,
        threads: int | None = None,
        save: str = "store",
        strategies: Mapping[str, str] | None = None,
        progress: Progress = silent,
    ) -> None:
        self.spec, self.backend = spec, backend
        self._device = device or backend.devices[0]
        self.batch: int = spec.graph.attrs["batch"]
        self._threads, self._save, self._progress = threads, save, progress
        self._strategies = strategies or {}
        self._graphs: dict[str, Graph] = {}
        self._fed: dict[str, Sequence[Op]] = {}
        self._loaded: dict[str, Executable] = {}
        self._active: str | None = None
        self.weights = Weights(self, "parameter")
        self.state = Weights(self, "state")
        self.steps = 0

    @property
    def registry(self) -> Registry:
        return self.spec.registry

    def graph(self, mode: str) -> Graph:
        """The program of a mode: ``train``, ``gradients``, ``gradients+dropout`` or ``predict``."""
        if mode not in self._graphs:
            self._graphs[mode] = at_stage(self.spec.graph, self.options(mode), "program")
        return self._graphs[mode]

    def options(self, mode: str) -> Options:
        """What the pipeline is told for a mode."""
        name, _, dropout = mode.partition("+")
        keeps = name == "train" or bool(dropout)
        return Options(self.registry, self.backend, name, keeps, self._save, strategies=self._strategies)

    def tune(self, seconds: float = 30.0) -> tuple[list[Tuned], int]:
        """Measure the strategies of a training step's ops and take the fastest, before the program is first used: what
        was found for each sort of ops, and how many sorts have a choice."""
        if self._loaded:
            raise RuntimeError("a program is tuned before it is loaded")
        tuner = Tuner(self.registry, self.backend, next(iter(self.bound.values())), self._threads, self._progress)
        tuned, sorts = tuner.tune(at_stage(self.spec.graph, self.options("train"), "laid-out"), seconds)
        self._strategies = {**self._strategies, **{name: found.chosen for found in tuned for name in found.names}}
        self._graphs, self._fed = {}, {}
        return tuned, sorts

    @property
    def strategies(self) -> Mapping[str, str]:
        """Those that were chosen by measuring, by the names of ops."""
        return self._strategies

    @property
    def active(self) -> Executable:
        """The executable that holds the newest weights."""
        return self._loaded[self._active] if self._active else self.use(self.home)

    @cached_property
    def bound(self) -> Mapping[str, str]:
        """The real device of each logical one."""
        logical = self.graph(self.home).attrs["devices"]
        if isinstance(self._device, str):
            return self.backend.bind(self._device, logical)
        return {name: self.backend.bind(self._device[name], [name])[name] for name in logical}

    def holder(self, leaf: str) -> Executable:
        """The executable that holds the newest value of a leaf: the active one, or training's for what only it has."""
        active = self.active
        if self._active is not None and leaf not in self.graph(self._active).results:
            return self._loaded.get(self.home) or self.use(self.home)
        return active

    def use(self, mode: str) -> Executable:
        """The executable of a mode, with the newest weights and state."""
        if mode == self._active:
            return self._loaded[mode]
        if mode not in self._loaded:
            graph = self.graph(mode)
            self._loaded[mode] = self.backend.load(graph, self.bound, self._threads, self._progress)
            if self._active is None:
                self._initialise(self.graph(mode), self._loaded[mode])
        if self._active is not None:
            source, known = self._loaded[self._active], self.graph(self._active).results
            for op in self.graph(mode):
                if op.kind in ("parameter", "state") and op.name in known:
                    self._loaded[mode].write(op.name, source.read(op.name))
        self._active = mode
        return self._loaded[mode]

    def _initialise(self, graph: Graph, executable: Executable) -> None:
        """First values, drawn by the element's place in the whole weight whatever the placement; by runs of rows, so
        that little memory is needed beside the arena. NumPy's steps are so short that threads would wait for each other
        longer than they worked."""
        self._progress("first weights")
        for kind in ("parameter", "state"):
            for name, parts in leaves(graph, kind).items():
                for tower, op in enumerate(parts):
                    if "init" in op.attrs:
                        shape = graph.type(op.name).shape
                        some = max(1, DRAWN_AT_ONCE * shape[0] // graph.type(op.name).elements)
                        for row in range(0, shape[0], some):
                            rows = (min(some, shape[0] - row), *shape[1:])
                            draws = Draws(self.spec.seed, name, (tower * shape[0] + row) * prod(shape[1:]))
                            executable.write(op.name, self._drawn(op, rows, draws), row)

    def _drawn(self, op: Op, shape: tuple[int, ...], draws: Draws) -> Array:
        """Values by a leaf's initialiser."""
        initialiser = self.registry.initialisers[op.attrs["init"]["kind"]]
        attrs = {key: value for key, value in op.attrs["init"].items() if key != "kind"}
        return initialiser.values(shape, op.attrs.get("fans", (1, 1)), attrs, draws)

    def _feed(self, mode: str, executable: Executable, images: Array, labels: Array | None) -> None:
        """Bring a batch."""
        known = np.full(len(images), -1, np.int32) if labels is None else np.asarray(labels, np.int32)
        self._write(mode, executable, {"image": images, "label": known})

    def _start(self, mode: str, executable: Executable, rate: float, seen: Seen | None = None) -> None:
        """Run on the batch that was brought."""
        numbers: dict[str, Array] = {"step": np.asarray(self.steps, np.int64), "rate": np.asarray(rate, np.float32)}
        self._write(mode, executable, numbers)
        if seen is None:
            executable.run()
        else:
            executable.watched(lambda op: seen(op, executable))

    def _write(self, mode: str, executable: Executable, given: Mapping[str, Array]) -> None:
        for op in self._inputs(mode):
            if op.attrs["field"] in given:
                array = given[op.attrs["field"]]
                executable.write(op.name, array[slice(*op.attrs["rows"])] if "rows" in op.attrs else array)

    def _inputs(self, mode: str) -> Sequence[Op]:
        """The inputs of a mode, found once: small nets take many steps a second."""
        if mode not in self._fed:
            self._fed[mode] = [op for op in self.graph(mode) if op.kind == "input"]
        return self._fed[mode]

    @cached_property
    def _image_shape(self) -> Sequence[int]:
        return next(op.attrs["shape"] for op in self.spec.graph if op.kind == "input" and "shape" in op.attrs)

    def _checked(self, images: Array) -> Array:
        images = np.asarray(images, np.float32)
        wanted = self._image_shape
        if images.shape[1:] != tuple(wanted):
            raise ValueError(f"expects images of shape [N, {', '.join(map(str, wanted))}], not {list(images.shape)}")
        return images

    def evaluate(self, images: Array, labels: Array | None = None) -> dict[str, Array]:
        """The outputs of prediction for up to a batch of images: ``logits`` for each, loss and metrics as means."""
        images = self._checked(images)
        count = len(images)
        if not 1 <= count <= self.batch:
            raise ValueError(f"expects 1 to {self.batch} images, not {count}")
        short = self.batch - count
        if short:
            images = np.concatenate([images, np.zeros((short, *images.shape[1:]), np.float32)])
            labels = None if labels is None else np.concatenate([labels, np.full(short, -1)])
        executable = self.use("predict")
        self._feed("predict", executable, images, labels)
        self._start("predict", executable, 0.0)
        outputs = {label: executable.read(name) for label, name in self.graph("predict").outputs.items()}
        # Means are over the whole batch, in which the missing images count as nothing.
        return {
            label: value[:count] if label == "logits" else value * np.float32(self.batch / count)
            for label, value in outputs.items()
        }

    def predict(self, images: Array) -> Floats:
        """The scores [N, classes] of images [N, C, H, W]."""
        images = self._checked(images)
        parts = [self.evaluate(images[i : i + self.batch])["logits"] for i in range(0, len(images), self.batch)]
        return np.concatenate(parts)

    def gradients(self, images: Array, labels: Array, *, dropout: bool = False) -> tuple[float, dict[str, Array]]:
        """The loss of a batch and the gradient of every trained weight."""
        mode = "gradients+dropout" if dropout else "gradients"
        executable = self.use(mode)
        self._feed(mode, executable, self._batch_of(images), labels)
        self._start(mode, executable, 0.0)
        graph = self.graph(mode)
        loss = float(executable.read(graph.outputs["loss"]))
        found = {}
        for label, name in graph.outputs.items():
            if label.endswith(".grad"):
                found[label.removesuffix(".grad")] = executable.read(name)
        return loss, found

    def step(self, images: Array, labels: Array, rate: float = 1.0) -> dict[str, float]:
        """One training step; returns loss and metrics. ``rate`` is the schedule's factor."""
        self.feed(images, labels)
        self.start(rate)
        return self.metrics()

    def feed(self, images: Array, labels: Array) -> None:
        """Bring the batch of the next training step; devices that are fed from afar still work on the last one."""
        self._feed("train", self.use("train"), self._batch_of(images), labels)

    def start(self, rate: float = 1.0, seen: Seen | None = None) -> None:
        """Begin a training step on the batch that was brought; ``metrics`` waits for it. With ``seen`` it is done op by
        op, to the same bits, and ``seen`` hears of each."""
        self._start("train", self.use("train"), rate, seen)
        self.steps += 1

    def metrics(self) -> dict[str, float]:
        """Loss and metrics of the training step that was begun last."""
        executable, outputs = self.use("train"), self.graph("train").outputs
        return {label: float(executable.read(name)) for label, name in outputs.items() if label != "logits"}

    def _batch_of(self, images: Array) -> Array:
        images = self._checked(images)
        if len(images) != self.batch:
            raise ValueError(f"the program was compiled for batches of {self.batch}, not {len(images)}")
        return images

    def close(self) -> None:
        """Give threads and memory back."""
        for executable in self._loaded.values():
            executable.close()
        self._loaded, self._active = {}, None


def compile(
    spec: Spec,
    backend: str = "cpu",
    *,
    batch: int | None = None,
    seed: int | None = None,
    device: str | Mapping[str, str] | None = None,
    threads: int | None = None,
    save: str = "store",
    strategies: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Program:
    """Compile a spec for a backend. ``batch`` and ``seed`` replace the spec's own; ``device`` is one for all logical
    devices of the spec (``"cuda:1"``), or one for each; ``strategies`` are those that ``Program.tune`` chose.

    Raises LookupError for an unknown backend, Gap where it lacks a kernel.
    """
    if seed is not None and seed != spec.seed:
        spec = from_source(spec.source, spec.path, spec.overrides, seed)
    if batch is not None:
        spec = spec.with_batch(batch)
    found = find_backend(backend)
    return Program(spec, found, device=device, threads=threads, save=save, strategies=strategies, progress=progress)
