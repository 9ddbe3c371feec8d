"""What is to be run: a spec from the start, or a run that goes on with what its spec and ``--set`` now say."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alexdsl.cli import InputError
from alexdsl.cli.common import devices, load_spec, overrides

if TYPE_CHECKING:
    from alexdsl.devices import Choice
    from alexdsl.spec import Spec
    from alexdsl.train.folder import RunFolder

RUNS = Path("runs")
SAVE_EVERY = 500


@dataclass(frozen=True)
class Job:
    """What is to be run: the spec, the folder of the run that it goes on with (none for a new one), when to save and
    how many checkpoints to keep; a line for each change of the spec since its last checkpoint."""

    spec: Spec
    folder: RunFolder | None
    save_every: int
    keep: int
    changes: Sequence[str] = ()


def job_of(args: argparse.Namespace) -> Job:
    """What the arguments ask for. Raises InputError."""
    from alexdsl.train.folder import RunError, find_checkpoint
    from alexdsl.train.keeping import KEPT

    for name in ("steps", "epochs", "save_every", "keep"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} expects a number of at least 1")
    if args.steps is not None:
        args.set = [*args.set, f"solver.steps={args.steps}"]
    if args.epochs is not None:
        args.set = [*args.set, f"solver.epochs={args.epochs}"]
    try:
        if args.resume is not None:
            return _resumed(args)
        if args.spec is None:
            raise InputError("name a spec to run, or --resume; for example: alexdsl run specs/alexnet.net")
        if args.init_from is not None:
            args.init_from = find_checkpoint(args.init_from).resolve()
        return Job(load_spec(args, args.seed or 0), None, args.save_every or SAVE_EVERY, args.keep or KEPT)
    except RunError as error:
        raise InputError(str(error)) from error


def _resumed(args: argparse.Namespace) -> Job:
    """The run as it was recorded, with what its spec and ``--set`` now say otherwise. Raises InputError where a
    difference is refused."""
    from alexdsl.language import Source
    from alexdsl.spec import from_source, with_overrides
    from alexdsl.train.folder import RunFolder
    from alexdsl.train.keeping import KEPT

    if any(given is not None for given in (args.spec, args.seed, args.out, args.init_from)):
        raise InputError("--resume takes these from the run itself: leave SPEC, --seed, --out and --init-from out")
    if args.tune is not None:
        raise InputError("--tune is for new runs: a resumed one keeps the strategies that it began with")
    folder = RunFolder.open(Path(args.resume)) if args.resume else RunFolder.newest(RUNS)
    facts = folder.facts
    merged = with_overrides(facts["overrides"], overrides(args.set))
    source = Source(facts["spec"], folder.spec_text)
    spec = from_source(source, Path(facts["spec"]), merged, facts["seed"])
    save_every = args.save_every or facts.get("save_every", SAVE_EVERY)
    return Job(spec, folder, save_every, args.keep or facts.get("keep", KEPT), _changes(folder, spec))


def _changes(folder: RunFolder, spec: Spec) -> Sequence[str]:
    """A line for each difference between the spec and that of the last checkpoint. Raises InputError."""
    from alexdsl.cli.predict import trained_spec
    from alexdsl.train.about import versions
    from alexdsl.train.changes import changes
    from alexdsl.train.checkpoint import read_state

    last = folder.last_checkpoint()
    if last is None:
        return ()
    with folder.reading(last):
        state = read_state(last)
    known = state.about.get("versions", versions())
    lines = [
        f"{name}: {known.get(name)} at the checkpoint, {number} now: from here on bits may differ"
        for name, number in versions().items()
        if known.get(name) != number
    ]
    if (state.spec, dict(state.overrides)) != (spec.source.text, dict(spec.overrides)):
        found = changes(trained_spec(last, state), spec)
        refused = [str(change) for change in found if change.refused]
        if refused:
            others = [str(change) for change in found if not change.refused]
            raise InputError("\n  ".join([f"{last} was written under another spec:", *refused, *others]))
        lines += map(str, found)
    return lines


def choice_of(args: argparse.Namespace, job: Job) -> Choice:
    """Where the run's logical devices are, by ``--device`` and ``--map``; a resumed run stays where it was unless told.
    Raises InputError, Unavailable."""
    known = job.folder.facts.get("devices") if job.folder else None
    if args.checks:
        if args.device != "emu" or args.map:
            raise InputError("--checks looks at what the emulator runs: use it with --device emu")
        args.device = "emu:checked"
    return devices(args, job.spec.graph.attrs["devices"], known)
