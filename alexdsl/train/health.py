"""Says early what is the matter with a run: looks into a few of its steps, and what is amiss becomes a verdict.

A look is the step itself, done op by op (``Executable.watched``), so that nothing of what is learnt changes. The bounds
lie between what the specs that come with alexdsl do in their first 50 steps and what planted illnesses do; both are in
``tests/train/test_health.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import log, sqrt
from typing import Any

import numpy as np

from alexdsl.ir.protocol import Array
from alexdsl.program import Program
from alexdsl.train.watch import SAMPLED, Layer, Look, Watch

WATCHED = (1, 2, 5, 10, 20, 50)
"""The first steps that are looked into."""
RARELY = 500
"""Steps between two looks later on."""
DEAD = 0.9
"""The part of a layer's relus that gives 0 for every image of a batch, from which the layer counts as dead."""
TOO_FAST = 1.0
"""|update| / |weight| of a step from which weights are thrown about, not trained: rough starts reach 0.6."""
TOO_SLOW = 1e-9
"""rate * |gradient| / |weight| below which float32 hardly takes an update in."""
DROWNED = 0.01
"""The part of a layer's output in which images differ, below which they are all the same to it."""
OFF_CENTRE = 0.5
"""Deviations from 0 of a channel's mean from which inputs are not centred."""
SETTLED, MANY = 20, 300
"""Steps after which a loss that stays where it began is told: by the images' drowning, and without any known reason."""
LOSSES = 15
"""Losses that are averaged over."""
GROWN = 30.0
"""A loss of so many times what chance or the first step gave is exploding; resnet-18 leaps to 12 times, and learns."""
IMAGES = 32
"""Images from which their mean, and labels, say something."""


@dataclass(frozen=True)
class Verdict:
    """What is the matter: its kind, the layer and its place in the spec, what was seen, and what usually helps."""

    kind: str
    layer: str
    place: str
    seen: str
    helps: str

    def __str__(self) -> str:
        return f"{self.layer} ({self.place}): {self.seen}; what usually helps: {self.helps}"


@dataclass
class Health:
    """The health of a run; every kind of verdict is given once."""

    program: Program
    given: set[str] = field(default_factory=set)
    wanted: int = 0
    """A step that is to be looked into beside the planned ones."""
    last: Look | None = None
    _losses: deque[float] = field(default_factory=lambda: deque(maxlen=LOSSES))
    _first: float = 0.0
    _alarm: float = 0.0
    _seen: set[int] = field(default_factory=set)
    _labels: int = 0
    _images: int = 0
    _sums: Array = field(default_factory=lambda: np.zeros((2, 1)))
    """Of the images that were looked at, by channel: the sums of means and of mean squares."""

    def recall(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Remember what the metrics of a run that is gone on with say."""
        for record in records:
            if "loss" in record:
                self._first = self._first or record["loss"]
                self._losses.append(record["loss"])
            self.given |= {record["health"]} if "health" in record else set()

    def brought(self, step: int, images: Array, labels: Array) -> None:
        """The batch [N, C, H, W] that a step is to learn, and its labels [N]."""
        if self._labels < IMAGES or len(self._seen) < 2:
            self._labels += len(labels)
            self._seen |= set(np.unique(labels).tolist())
        if self._watched(step):
            every = max(1, images.size // images.shape[1] // SAMPLED)
            some = images.reshape(*images.shape[:2], -1)[:, :, ::every].astype(np.float64)
            self._images += len(images)
            self._sums = self._sums + len(images) * np.array([some.mean((0, 2)), (some**2).mean((0, 2))])

    def _watched(self, step: int) -> bool:
        return step in (*WATCHED, self.wanted) or step % RARELY == 0

    def watch(self, step: int) -> Watch | None:
        """What looks into a step, if it is to be looked into."""
        return Watch(self.program, step) if self._watched(step) else None

    def after(self, step: int, loss: float, look: Look | None) -> list[Verdict]:
        """The verdicts that are new after a step."""
        self._first = self._first or loss
        self._losses.append(loss)
        self.last = look or self.last
        found: list[Verdict] = []
        most = GROWN * max(self._first, log(self._classes))
        if look is None and loss > max(most / 2, 2 * self._alarm) and "exploding" not in self.given:
            self.wanted, self._alarm = step + 1, loss
        if look is not None and look.layers:
            found += [*self._weights(look), *self._inputs(), *self._flat(look)]
            if loss > most:
                found.append(self._exploding(look, loss))
        new = [verdict for verdict in found if verdict.kind not in self.given]
        self.given |= {verdict.kind for verdict in new}
        return new

    def broken(self) -> str:
        """Where a number that is none came from, after a step whose loss is none; as a sentence."""
        look = self.last
        if look is None or not look.layers:
            return ""
        if look.broken:
            return f"The first number that is none came in step {look.step} from {look.broken}"
        worst, ratio = _fastest(look)
        where = f"{worst} ({look.layers[worst].place})"
        return f"At the last look, at step {look.step}, weights changed most in {where}: |update|/|weight| {ratio:.1e}"

    @property
    def _classes(self) -> int:
        graph = self.program.spec.shaped
        name = graph.outputs.get("logits")
        return max(2, graph.type(name).shape[-1]) if name else 2

    @property
    def _last_layer(self) -> str:
        """The layer of the scores, whose weights may well begin at 0."""
        graph = self.program.spec.shaped
        made = graph.producers[graph.outputs["logits"]] if "logits" in graph.outputs else None
        weights = [n for n in made.operands if graph.producers[n].kind == "parameter"] if made else []
        return weights[0].removesuffix(".weight") if weights else ""

    def _weights(self, look: Look) -> Iterator[Verdict]:
        """What layers do with what they get, from the first on: what ails one may be why those above it look ill."""
        for name, layer in look.layers.items():
            if layer.alike and layer.rate and name != self._last_layer and layer.fan > 1:
                yield Verdict(
                    "alike", name, layer.place, "all its weights are one number, so that all its units are the same",
                    "first weights that differ, such as weight = he",
                )  # fmt: skip
                return
        for name, layer in look.layers.items():
            if layer.units and layer.dead >= DEAD * layer.units:
                seen = f"{layer.dead} of its {layer.units:,} relus gave 0 for every image of step {look.step}"
                yield Verdict(
                    "dead", name, layer.place, seen, "a smaller learning rate, he's weights, biases of 0 or 0.1"
                )
                break
        worst, ratio = _fastest(look)
        if ratio > TOO_FAST:
            others = sum(_ratio(layer, layer.update) > TOO_FAST for layer in look.layers.values()) - 1
            more = f", and so in {others} more layers" if others else ""
            seen = f"a step changed its weights by {ratio:.2g} of their size at step {look.step} (0.001 is usual){more}"
            yield Verdict(
                "fast", worst, look.layers[worst].place, seen, "a learning rate of a tenth or less, or warmup"
            )
        if look.step >= 10 and not self.given & {"dead", "alike"}:
            for name, layer in look.layers.items():
                if layer.rate and _ratio(layer, layer.rate * layer.gradient) < TOO_SLOW:
                    seen = f"its gradient is too small to change its weights, at step {look.step}"
                    helps = "larger first weights above it, relu in place of tanh or sigmoid, batch_norm"
                    yield Verdict("slow", name, layer.place, seen, helps)
                    break

    def _inputs(self) -> Iterator[Verdict]:
        graph = self.program.spec.graph
        places = {op.attrs["field"]: op.location for op in graph if op.kind == "input"}
        if self._images >= IMAGES:
            means, squares = self._sums / self._images
            deviations = np.sqrt(np.maximum(squares - means**2, 1e-12))
            channel = int(np.argmax(np.abs(means / deviations)))
            if abs(means[channel]) > OFF_CENTRE * deviations[channel]:
                seen = f"inputs are not centred: channel {channel} has a mean of {means[channel]:.3g}"
                seen += f" and a deviation of {deviations[channel]:.3g}"
                yield Verdict("inputs", "image", places["image"], seen, "data.mean = channel")
        if self._labels >= IMAGES and len(self._seen) == 1:
            seen = f"the label of all {self._labels} images so far is {next(iter(self._seen))}"
            yield Verdict(
                "labels", "label", places["label"], seen, "a look at how the data's classes are named and listed"
            )

    def _flat(self, look: Look) -> Iterator[Verdict]:
        chance, known = log(self._classes), len(self._losses)
        if look.step < SETTLED or known < LOSSES or not 0.97 < sum(self._losses) / known / chance < 1.1:
            return
        said = f"the loss stays at ln({self._classes}) = {chance:.3f}, that of guessing"
        drowned = next((name for name, layer in look.layers.items() if layer.spread < DROWNED), None)
        if drowned is not None:
            layer = look.layers[drowned]
            seen = f"{said}: what it gives is the same for every image but for {layer.spread:.1g} of its size"
            yield Verdict(
                "flat", drowned, layer.place, seen, "first biases of 0 where they are 1, larger first weights (he)"
            )
        elif look.step >= MANY:
            name, layer = min(look.layers.items(), key=lambda each: _ratio(each[1], each[1].update))
            seen = f"{said}, after {look.step} steps; its weights change least: {_ratio(layer, layer.update):.1e}"
            yield Verdict(
                "flat", name, layer.place, seen, "he's weights, biases of 0, another learning rate, labels checked"
            )

    def _exploding(self, look: Look, loss: float) -> Verdict:
        worst, ratio = _fastest(look)
        seen = f"the loss explodes ({self._first:.3g} at first, {loss:.3g} at step {look.step}); "
        seen += f"its weights change most, by {ratio:.2g} of their size in a step"
        return Verdict("exploding", worst, look.layers[worst].place, seen, "a smaller learning rate, or warmup")


def _ratio(layer: Layer, change: float) -> float:
    """A change of a layer's weights over their size; of small first weights, over what he's would be."""
    return change / max(layer.weight, sqrt(2 / layer.fan))


def ratios(look: Look) -> dict[str, float]:
    """By how much of its size a step changed each layer's weights."""
    return {name: _ratio(layer, layer.update) for name, layer in look.layers.items()}


def _fastest(look: Look) -> tuple[str, float]:
    """The layer whose weights changed most for their size, and by how much; one whose change is no number is."""
    found = ratios(look)
    worst = max(found, key=lambda name: found[name] if found[name] == found[name] else float("inf"))
    return worst, found[worst]
