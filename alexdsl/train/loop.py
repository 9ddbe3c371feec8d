"""The training loop: batches in, steps, validations, checkpoints; stops cleanly when asked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from alexdsl.data.errors import DataError
from alexdsl.data.loader import Loader
from alexdsl.data.statistics import Statistics
from alexdsl.ir.protocol import Progress as Done
from alexdsl.program import Program
from alexdsl.train.about import describe, program_hash
from alexdsl.train.checkpoint import State, restore, save_checkpoint
from alexdsl.train.curves import History, save_curves
from alexdsl.train.events import Events, events
from alexdsl.train.filters import save_filters
from alexdsl.train.folder import RunError, RunFolder
from alexdsl.train.health import Health, Verdict, ratios
from alexdsl.train.interrupts import interruptible
from alexdsl.train.keeping import KEPT, best_step, remove_others


class Listener(Protocol):
    """Shows a run to people."""

    def started(self, step: int, steps: int, batch: int) -> None: ...

    def stepped(self, step: int, metrics: Mapping[str, float], rate: float) -> None: ...

    def validating(self, done: int, total: int) -> None: ...

    def validated(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def saved(self, path: Path) -> None: ...

    def advised(self, step: int, verdict: Verdict) -> None: ...


@dataclass
class Trainer:
    """A run: the program, its data, and where it is written. ``steps`` is where it ends."""

    program: Program
    loader: Loader
    statistics: Statistics
    classes: tuple[str, ...]
    folder: RunFolder
    listener: Listener
    steps: int
    save_every: int = 500
    keep: int = KEPT
    """Last checkpoints that stay, beside the best."""
    validate_last: bool = True
    """Whether the last step is validated though neither the spec nor an epoch's end asks for it."""
    strict: bool = False
    """Whether a verdict on the run's health stops it."""
    events: Events | None = None
    """Where metrics go beside the run's own lines, while it runs."""
    validations: list[dict[str, float]] = field(default_factory=list)
    stop: bool = False
    due: bool = False
    """Whether the validation of the last step is still to come."""
    brought: int = -1
    """The step whose batch the program has."""
    amiss: DataError | None = None
    """Why the next step's batch cannot be had."""

    def __post_init__(self) -> None:
        self.health = Health(self.program)
        self.history = History()

    def resume(self, path: Path, state: State) -> None:
        """Go back to where a checkpoint was written. Raises CheckpointError."""
        self.program.use("train")
        restore(path, self.program)
        self.program.steps = state.step
        self.validations = [dict(v) for v in state.validations]
        self.due = state.due
        self.health.recall(self._past())
        for record in self._past():
            self.history.add(record)
        self._tidy()  # as the process may have been killed before it came to that

    @cached_property
    def _program_hash(self) -> str:
        return program_hash(self.program)

    def _past(self) -> Iterator[Mapping[str, Any]]:
        """The metrics of what was done before, as far as the run goes on from it."""
        done = self.program.steps
        for record in self.folder.records():
            if record["step"] < done or (record["step"] == done and not (self.due and "val.images" in record)):
                yield record

    def run(self) -> bool:
        """Train to the end; false where it was asked to stop before.

        Raises RunError where the loss is no number, DataError where an image cannot be had; what was learnt until then
        is saved.
        """
        program = self.program
        self.listener.started(program.steps, self.steps, program.batch)
        with interruptible(self._ask_to_stop), events(self.folder.path, program.steps) as self.events:
            try:
                if self.due:
                    self._validate()
                while program.steps < self.steps and not self.stop:
                    self._step()
            except DataError:
                self._save_last()
                raise
            self._save_last()
        return program.steps >= self.steps and not self.due

    def _ask_to_stop(self) -> None:
        self.stop = True

    def _step(self) -> None:
        """A step, and the validation and checkpoint that are due after it."""
        program = self.program
        if self.amiss is not None:
            raise self.amiss
        if self.brought != program.steps:
            self._bring(program.steps)
        rate = self._rate()
        watch = self.health.watch(program.steps + 1)
        program.start(rate, watch.seen if watch else None)
        look = watch.done() if watch else None
        self._bring_ahead()
        metrics = program.metrics()
        verdicts = self.health.after(program.steps, metrics["loss"], look)
        if not np.isfinite(metrics["loss"]):
            self.folder.log({"step": program.steps, "diverged": str(metrics["loss"])})
            raise RunError(
                f"the loss is {metrics['loss']} at step {program.steps}: training has diverged. "
                "A smaller learning rate usually helps (--set solver.lr=...); the last checkpoint is older. "
                + self.health.broken()
            )
        changes = {f"update.{name}": ratio for name, ratio in ratios(look).items() if isfinite(ratio)} if look else {}
        self._log({"step": program.steps, "rate": rate, **metrics, **changes})
        self.listener.stepped(program.steps, metrics, rate)
        self._advise(verdicts)
        self.due = self._validates(program.steps)
        if self.due:
            self._validate()
        elif program.steps % self.save_every == 0:
            self.save()

    def _advise(self, verdicts: Sequence[Verdict]) -> None:
        """Tell what is the matter. Raises RunError where that is to stop the run, once what was learnt is saved."""
        step = self.program.steps
        for verdict in verdicts:
            told = {"layer": verdict.layer, "place": verdict.place, "seen": verdict.seen, "helps": verdict.helps}
            self._log({"step": step, "health": verdict.kind, **told})
            self.listener.advised(step, verdict)
        if verdicts and self.strict:
            self._save_last()
            raise RunError(f"stopped and saved at step {step}, for the run's health (--strict-health): {verdicts[0]}")

    def _log(self, record: Mapping[str, Any]) -> None:
        self.folder.log(record)
        self.history.add(record)
        if self.events is not None:
            self.events.add(record)

    def _rate(self) -> float:
        """What the next step's learning rates are multiplied by."""
        done, solver = self.program.steps, self.program.spec.solver
        name, attrs = solver.schedule
        progress = Done(done, self.loader.epoch(done), self.validations, self.steps)
        rising = min(1.0, (done + 1) / solver.warmup) if solver.warmup else 1.0
        return rising * self.program.registry.schedules[name].factor(progress, attrs)

    def _bring(self, step: int) -> None:
        batch = self.loader.batch(step)
        self.health.brought(step + 1, batch.images, batch.labels)
        self.program.feed(batch.images, batch.labels)
        self.brought = step

    def _bring_ahead(self) -> None:
        """The next step's batch while this step computes. What is wrong with it is said when its turn comes."""
        if self.program.steps < self.steps and not self.stop:
            try:
                self._bring(self.program.steps)
            except DataError as error:
                self.amiss = error

    def _save_last(self) -> None:
        """A checkpoint of where training ends, if there is none yet."""
        if not checkpoint_is_current(self.folder, self.program.steps):
            self.save()

    def _validates(self, step: int) -> bool:
        if self.loader.val is None:
            return False
        every = self.program.spec.solver.validate
        if every is not None:
            due = step % every == 0
        else:
            due = int(self.loader.epoch(step)) > int(self.loader.epoch(step - 1))
        return due or (self.validate_last and step >= self.steps)

    def _validate(self) -> None:
        """Validate and save; asked to stop meanwhile, leave the validation for the run that goes on."""
        assert self.loader.val is not None
        totals: dict[str, float] = {}
        seen = 0
        started = time.monotonic()
        for batch in self.loader.evaluate_batches():
            if self.stop:
                return
            found = self.program.evaluate(batch.images, batch.labels)
            for label, value in found.items():
                if label != "logits":
                    totals[label] = totals.get(label, 0.0) + float(value) * len(batch.labels)
            seen += len(batch.labels)
            self.listener.validating(seen, len(self.loader.val))
        metrics = {label: total / seen for label, total in totals.items()}
        self.validations.append({"step": self.program.steps, **metrics})
        named = {f"val.{label}": value for label, value in metrics.items()}
        self._log(
            {
                "step": self.program.steps,
                **named,
                "val.images": seen,
                "val.seconds": round(time.monotonic() - started, 3),
            }
        )
        self.listener.validated(self.program.steps, metrics)
        self.due = False
        self.save()

    def save(self) -> None:
        """Write a checkpoint and the filters' picture. Raises RunError where the disk does not take it."""
        spec = self.program.spec
        state = State(
            self.program.steps,
            spec.source.text,
            spec.overrides,
            spec.seed,
            spec.name,
            self.classes,
            self.validations,
            self.due,
            describe(self.program, self.loader, self._program_hash),
        )
        try:
            # The pictures first: a run whose last checkpoint is there is not gone on with.
            save_filters(dict(self.program.weights.items()), self.folder.path / "filters.png")
            save_curves(self.history, self.folder.path / "curves.png")
            if self.events is not None:
                self.events.flush()
            path = save_checkpoint(self.folder.checkpoints, self.program, state, self.statistics)
            self._tidy()
        except OSError as error:
            raise RunError(f"cannot write a checkpoint into {self.folder.path}: {error.strerror or error}") from error
        self.listener.saved(path)

    def _tidy(self) -> None:
        remove_others(self.folder.checkpoints, self.keep, best_step(self.program.spec, self.validations))


def checkpoint_is_current(folder: RunFolder, step: int) -> bool:
    """Whether the newest checkpoint is of this step."""
    last = folder.last_checkpoint()
    return last is not None and last.name == f"step-{step:08}"
