"""A training step looked at from inside: what every layer gives and gets, while the step computes as it always does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan, nan

import numpy as np

from alexdsl.ir.backend import Executable
from alexdsl.ir.graph import Op
from alexdsl.ir.protocol import Array
from alexdsl.program import Program, leaves

SAMPLED = 1 << 16
"""Elements that an average is taken over: of a larger array that many, at equal steps."""
SIDE = 256
"""Inputs and outputs of such an array that is made for it."""
PASSED_ON = ("maxpool", "lrn", "dropout", "flatten")
"""Kinds that give 0 where all that they see is 0: a dead unit is still seen to be dead behind them."""
FEW = 4
"""Images of a batch below which their differences say nothing."""


@dataclass
class Layer:
    """What is seen of a layer with weights, its towers taken together; ``place`` is its place in the spec.

    ``units`` are its relus (a map's or a unit's), ``dead`` those that gave 0 for every image. ``size`` is the root mean
    square of what it gives, ``spread`` the part of it in which images differ. Of its weights: ``weight`` is their root
    mean square before the step, ``update`` that of what the step added, ``gradient`` that of their gradient (no number
    where it was not seen); ``fan`` their fan in; ``rate`` their learning rate; ``alike``: whether all are one number.
    """

    place: str = ""
    units: int = 0
    dead: int = 0
    size: float = 0.0
    spread: float = 1.0
    weight: float = 0.0
    update: float = 0.0
    gradient: float = nan
    fan: int = 1
    rate: float = 0.0
    alike: bool = False


@dataclass
class Look:
    """A watched step: its layers by name in the order of the net, and the first op that gave a number which is none
    (empty while all are finite)."""

    step: int
    layers: dict[str, Layer] = field(default_factory=dict)
    broken: str = ""


class Watch:
    """Collects a Look: ``seen`` is for ``Program.start``, ``done`` comes after it."""

    def __init__(self, program: Program, step: int) -> None:
        self.look = Look(step)
        self._program, self._graph = program, program.graph("train")
        self._backward = False
        self._layer_of: dict[str, str] = {}
        self._weights: dict[str, Sequence[Op]] = {}
        for name, parts in leaves(self._graph, "parameter").items():
            if parts[0].attrs["role"] == "weight" and len(self._graph.type(parts[0].name).shape) > 1:
                layer = name.removesuffix(".weight")
                self._weights[layer] = parts
                self._layer_of |= {part.name: layer for part in parts}
        self._before = {layer: self._sample(parts) for layer, parts in self._weights.items()}
        # Which layer with weights a chain's relu follows, or the one last seen.
        self._chain: dict[str, str] = {}
        self._newest = ""

    def seen(self, op: Op, executable: Executable) -> None:
        """An op of the step is done."""
        with np.errstate(all="ignore"):  # what is infinite is told, not warned of
            self._see(op, executable)

    def _see(self, op: Op, executable: Executable) -> None:
        kinds = op.kind.split("+")
        self._backward = self._backward or kinds[-1].endswith("_grad")
        # What solvers write is as good as the gradients that they read, which were checked.
        if not self.look.broken and op.kind not in self._program.registry.solvers:
            self._check(op, executable)
        if not self._backward and op.layer:
            self._see_forward(op, kinds, executable)
        elif any(kind.endswith("_weight_grad") for kind in kinds):
            chain = op.layer.rpartition(".")[0]
            layer = self.look.layers.get(self._chain.get(op.layer, chain))
            if layer is not None:
                found = self._gradient(op, executable)
                layer.gradient = found if isnan(layer.gradient) else max(found, layer.gradient)

    def _gradient(self, op: Op, executable: Executable) -> float:
        """The root mean square of a weight's gradient. One that went into the weight at once, which only linear layers'
        do, is made again, of some inputs and outputs."""
        if op.kind.rpartition("+")[2] not in self._program.registry.solvers:
            return _size(_sampled(executable.peek(op.name)))
        rows = (array.reshape(len(array), -1) for array in map(executable.peek, op.operands[:2]))
        x, dy = (array[:, :: max(1, array.shape[1] // SIDE)].astype(np.float64) for array in rows)
        return _size(dy.T @ x)

    def done(self) -> Look:
        """What was seen of the step, which is now over."""
        with np.errstate(all="ignore"):
            for name, parts in self._weights.items():
                self._see_weights(name, parts)
        return self.look

    def _see_weights(self, name: str, parts: Sequence[Op]) -> None:
        layer, before = self.look.layers.setdefault(name, Layer(parts[0].location)), self._before[name]
        layer.weight, layer.alike = _size(before), bool(before.min() == before.max())
        layer.update = _size(self._sample(parts) - before)
        layer.rate, layer.fan = parts[0].attrs["lr"], parts[0].attrs["fans"][0]

    def _sample(self, parts: Sequence[Op]) -> Array:
        found = [_sampled(self._program.active.peek(part.name)).astype(np.float64) for part in parts]
        return np.concatenate(found)

    def _check(self, op: Op, executable: Executable) -> None:
        for result in op.results:
            if self._graph.type(result.name).dtype == "f32":
                array = executable.peek(result.name)
                if not (np.isfinite(array.max()) and np.isfinite(array.min())):
                    way = "backward" if self._backward else "forward"
                    self.look.broken = f"{op.origin}, {way}, in '{op.kind}'"
                    return

    def _see_forward(self, op: Op, kinds: Sequence[str], executable: Executable) -> None:
        chain = op.layer.rpartition(".")[0]
        owner = next((self._layer_of[name] for name in op.operands if name in self._layer_of), None)
        if owner is not None:
            # The gradients of the layer's weights are made for the step that the weights belong to.
            leaf = next(name for name in op.operands if name in self._layer_of)
            self._chain[chain] = self._chain[self._graph.producers[leaf].layer] = self._newest = owner
            layer = self.look.layers.setdefault(owner, Layer(op.location))
            layer.size, layer.spread = _spread(executable.peek(op.name))
        behind = kinds[kinds.index("relu") + 1 :] if "relu" in kinds else None
        if behind is not None and set(behind) <= set(PASSED_ON) and self._newest:
            array = executable.peek(op.name)
            largest = array.max(tuple(axis for axis in range(array.ndim) if axis != 1))
            layer = self.look.layers[self._chain.get(chain, self._newest)]
            layer.units += len(largest)
            layer.dead += int((largest <= 0).sum())


def _sampled(array: Array) -> Array:
    return array.reshape(-1)[:: max(1, array.size // SAMPLED)]


def _size(array: Array) -> float:
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


def _spread(array: Array) -> tuple[float, float]:
    """The root mean square of values [N, ...], and the part of it in which the N differ."""
    some = array.reshape(len(array), -1)
    some = some[:, :: max(1, some.size // SAMPLED)].astype(np.float64)
    size = _size(some)
    if len(array) < FEW or not size or not np.isfinite(size):
        return size, 1.0
    return size, _size(some - some.mean(0)) / size
