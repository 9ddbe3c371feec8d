"""The runs of a sweep: where each lies, how far it came, and whether it is what the sweep's file now says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alexdsl.data.loader import steps_of
from alexdsl.spec import Spec
from alexdsl.train.checkpoint import read_state
from alexdsl.train.folder import RunError, RunFolder

NOT_BEGUN, UNFINISHED, DIVERGED, FINISHED = "not begun", "unfinished", "diverged", "finished"


@dataclass(frozen=True)
class Job:
    """A variant with a seed: its spec, and its run's folder."""

    variant: str
    seed: int
    spec: Spec
    folder: Path


@dataclass(frozen=True)
class Run:
    """A job as it stands: ``step`` is the last one logged, ``devices`` what computed it."""

    job: Job
    state: str = NOT_BEGUN
    step: int = 0
    records: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    devices: Sequence[str] = ()

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.state in (FINISHED, DIVERGED)


def folder_of(base: Path, variant: str, seed: int) -> Path:
    """Where a variant's run lies."""
    return base / f"{variant}-seed{seed}"


def look(job: Job) -> Run:
    """A job's run as its files say. Raises RunError where they cannot be read or are of another spec."""
    if not (job.folder / "run.json").exists():
        return Run(job)
    folder = RunFolder.open(job.folder)
    facts = folder.facts
    found = list(_differences(folder, facts, job.spec))
    if found:
        raise RunError(
            f"{job.folder} was run otherwise than variant '{job.variant}' now says: {'; '.join(found)}. "
            "--out names another folder for the sweep, or take this one away"
        )
    records = list(folder.records())
    step = max((record["step"] for record in records), default=0)
    if any("diverged" in record for record in records):
        state = DIVERGED
    else:
        state = FINISHED if _finished(folder, job.spec) else UNFINISHED
    return Run(job, state, step, records, sorted(set(facts.get("devices", {}).values())))


def _differences(folder: RunFolder, facts: Mapping[str, Any], spec: Spec) -> Iterator[str]:
    """In what a recorded run is not the one that is asked for."""
    there = facts["overrides"]
    for name in dict.fromkeys((*there, *spec.overrides)):
        if there.get(name) != spec.overrides.get(name):
            yield f"{name} {there.get(name, 'as in its spec')} there, {spec.overrides.get(name, 'as in its spec')} now"
    if facts["seed"] != spec.seed:
        yield f"seed {facts['seed']} there, {spec.seed} now"
    if folder.spec_text != spec.source.text:
        yield f"its spec has another text than {spec.source.name} (alexdsl diff {folder.path / 'spec.net'} ...)"


def _finished(folder: RunFolder, spec: Spec) -> bool:
    """Whether the last checkpoint is that of the run's end; where it does not tell, going on with the run will."""
    last = folder.last_checkpoint()
    if last is None:
        return False
    state = read_state(last)
    steps = spec.solver.steps
    if steps is None and spec.solver.epochs is not None and "data" in state.about:
        steps = steps_of(spec.solver.epochs, state.about["data"]["images"], state.about["batch"]["effective"])
    return steps is not None and state.step >= steps and not state.due
