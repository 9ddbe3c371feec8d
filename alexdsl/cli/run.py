"""``alexdsl run``: trains a net from its spec, into a run folder, from the start or from where a run stopped."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alexdsl.cli import InputError
from alexdsl.cli.common import bytes_text, load_spec, machine_memory, overrides, set_argument

if TYPE_CHECKING:
    from alexdsl.cli.show import Show
    from alexdsl.data.resolve import Resolved
    from alexdsl.program import Program
    from alexdsl.spec import Spec
    from alexdsl.train.folder import RunFolder

RUNS = Path("runs")


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """examples:
  alexdsl run specs/alexnet.net
  alexdsl run specs/alexnet.net --set solver.lr=0.005 --set data.batch=64 --steps 1000
  alexdsl run --resume                               go on with the newest run
"""
    command.add_argument("spec", metavar="SPEC", nargs="?", help="a spec file, such as specs/alexnet.net")
    set_argument(command)
    command.add_argument("--out", metavar="DIR", type=Path, help="the run's folder (default: runs/NAME-1, -2, ...)")
    command.add_argument("--steps", metavar="N", type=int, help="train this many steps, whatever the spec says")
    command.add_argument("--epochs", metavar="N", type=int, help="train this many epochs, whatever the spec says")
    command.add_argument("--device", metavar="D", default="auto", help="auto, cpu (default: auto)")
    command.add_argument(
        "--map", metavar="A=D,B=D", help="bind logical devices of the spec to real ones: gpu0=cpu,gpu1=cpu"
    )
    command.add_argument("--seed", metavar="N", type=int, default=None, help="seed of every random number (default: 0)")
    command.add_argument(
        "--save-every",
        metavar="N",
        type=int,
        default=500,
        help="steps between checkpoints, beside those at validations",
    )
    command.add_argument(
        "--resume", metavar="DIR", nargs="?", const="", help="go on with the run in DIR, or with the newest one"
    )


@dataclass(frozen=True)
class Job:
    """What is to be run: the spec, and the folder of the run that it goes on with, none for a new one."""

    spec: Spec
    folder: RunFolder | None


def run(args: argparse.Namespace) -> int:
    """Train; see ``arguments``."""
    from alexdsl.cli.show import Show
    from alexdsl.data.errors import DataError
    from alexdsl.ir.backend import Gap
    from alexdsl.train.checkpoint import CheckpointError
    from alexdsl.train.folder import RunError

    show = Show()
    try:
        return _run(args, show)
    except DataError as error:
        raise InputError(str(error)) from error
    except (CheckpointError, Gap) as error:
        raise InputError(str(error)) from error
    except (RunError, MemoryError) as error:
        show.close()
        print(f"error: {error or 'out of memory'}", file=sys.stderr)
        return 1
    finally:
        show.close()


def _run(args: argparse.Namespace, show: Show) -> int:
    from alexdsl.data.loader import Loader
    from alexdsl.data.resolve import resolve
    from alexdsl.data.statistics import statistics
    from alexdsl.ir.text import print_graph
    from alexdsl.program import compile
    from alexdsl.train.checkpoint import read_state
    from alexdsl.train.loop import Trainer

    job = _job(args)
    spec = job.spec
    if spec.data is None:
        raise InputError(f"{spec.source.name} has no data block, so there is nothing to train on")
    if not spec.bound.has_solver:
        raise InputError(
            f"{spec.source.name} has no solver block: add one, such as solver sgd {{ lr = 0.01, epochs = 10 }}"
        )
    resolved = resolve(spec.data)
    if resolved.notice and job.folder is None:
        show.note(resolved.notice)
    _check_classes(spec, resolved)
    _check_images(spec, resolved)
    program = compile(spec, _backend(args), seed=spec.seed)
    _check_memory(program)
    folder = job.folder or _created(args, spec)
    if job.folder is None:
        facts = {"spec": str(spec.source.name), "overrides": dict(spec.overrides), "seed": spec.seed}
        folder.describe(facts, spec.source.text, print_graph(program.graph("train")))
    last = folder.last_checkpoint() if job.folder else None
    state = read_state(last) if last else None
    measured = statistics(resolved.train, spec.data)
    with Loader(resolved.train, spec.data, measured, spec.seed, val=resolved.val) as loader:
        steps = _steps(spec, loader)
        if state is not None and state.step >= steps:
            show.note(f"{folder.path} has done its {state.step} steps; --steps or --epochs let it go further")
            return 0
        loader.prefetch(state.step if state else 0)
        with show.working("loading kernels (the first time on a machine they are compiled)"):
            program.use("train")
        trainer = Trainer(program, loader, measured, tuple(resolved.classes), folder, show, steps, args.save_every)
        if last is not None and state is not None:
            trainer.resume(last, state)
        if job.folder:
            # Only now that the checkpoint has been taken: a refused one leaves the run as it was.
            folder.rewind(program.steps)
        threads = getattr(program.active, "threads", 1)
        show.note(
            f"{spec.name}: {len(resolved.train):,} images, batch {program.batch}, steps {program.steps} to {steps:,}, "
            f"{threads} threads, run folder {folder.path}"
        )
        finished = trainer.run()
        show.close()
        if finished:
            show.note(f"done: {folder.path}")
        else:
            show.note(f"stopped after step {program.steps} and saved; go on with: alexdsl run --resume {folder.path}")
        program.close()
        return 0 if finished else 130


def _job(args: argparse.Namespace) -> Job:
    from alexdsl.train.folder import RunError

    for name in ("steps", "epochs", "save_every"):
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
        return Job(load_spec(args, args.seed or 0), None)
    except RunError as error:
        raise InputError(str(error)) from error


def _created(args: argparse.Namespace, spec: Spec) -> RunFolder:
    from alexdsl.train.folder import RunError, RunFolder

    try:
        return RunFolder.create(args.out or RunFolder.next_free(RUNS, spec.name))
    except RunError as error:
        raise InputError(str(error)) from error


def _resumed(args: argparse.Namespace) -> Job:
    """The run as it was recorded; only how long it goes may be said anew."""
    from alexdsl.language import Source
    from alexdsl.spec import from_source
    from alexdsl.train.folder import RunFolder

    if args.spec is not None or args.seed is not None or args.out is not None:
        raise InputError(
            "--resume takes the spec, seed and folder from the run itself: leave SPEC, --seed and --out out"
        )
    folder = RunFolder.open(Path(args.resume)) if args.resume else RunFolder.newest(RUNS)
    facts = folder.facts
    changed = overrides(args.set)
    wrong = [name for name in changed if name not in ("solver.steps", "solver.epochs")]
    if wrong:
        raise InputError(f"--set {wrong[0]}: a resumed run keeps its spec; only --steps and --epochs may change")
    merged = {**facts["overrides"], **changed}
    for name, other in (("solver.steps", "solver.epochs"), ("solver.epochs", "solver.steps")):
        if name in changed and other not in changed:
            merged.pop(other, None)
    source = Source(facts["spec"], folder.spec_text)
    return Job(from_source(source, Path(facts["spec"]), merged, facts["seed"]), folder)


def _backend(args: argparse.Namespace) -> str:
    """The backend that ``--device`` and ``--map`` ask for."""
    asked = {args.device} if args.device != "auto" else set()
    if args.map:
        for pair in args.map.split(","):
            name, equals, device = pair.partition("=")
            if not equals or not name:
                raise InputError(f"--map {args.map}: expects LOGICAL=DEVICE pairs, such as gpu0=cpu,gpu1=cpu")
            asked.add(device)
    if asked - {"cpu"}:
        wrong = sorted(asked - {"cpu"})[0]
        raise InputError(
            f"device '{wrong}' is not built yet: this version runs on cpu, "
            "of which logical devices such as gpu0 are parts"
        )
    return "cpu"


def _steps(spec: Spec, loader: object) -> int:
    from alexdsl.data.loader import Loader

    assert isinstance(loader, Loader)
    if spec.solver.steps is not None:
        return spec.solver.steps
    if spec.solver.epochs is None:
        raise InputError("the solver does not say how long to train: add epochs = ... or steps = ..., or use --steps")
    return loader.steps(spec.solver.epochs)


def _check_classes(spec: Spec, resolved: Resolved) -> None:
    """The data's classes must have scores of their own."""
    name = spec.shaped.outputs.get("logits")
    scores = spec.shaped.type(name).shape[1] if name else None
    if scores is not None and len(resolved.classes) > scores:
        raise InputError(
            f"the data has {len(resolved.classes)} classes, but '{name}' gives {scores} scores: "
            "linear(data.classes) counts them"
        )


def _check_images(spec: Spec, resolved: Resolved) -> None:
    """The prepared images must be what the net's input takes."""
    from alexdsl.data.resizing import image_shape

    assert spec.data is not None
    given = image_shape(spec.data, resolved.train)
    for op in spec.graph:
        if op.kind == "input" and "shape" in op.attrs and tuple(op.attrs["shape"]) != given:
            wanted = list(op.attrs["shape"])
            raise InputError(
                f"{op.location}: input {op.name} takes {wanted}, but the data block prepares images of {list(given)}: "
                "see its crop, resize and channels"
            )


def _check_memory(program: Program) -> None:
    """Refuse what this machine cannot hold, before it is allocated."""
    needed = sum(sum(program.graph(mode).attrs["arenas"].values()) for mode in ("train", "predict"))
    held = machine_memory()
    if needed > held:
        raise InputError(
            f"the run needs {bytes_text(needed)} and this machine has {bytes_text(held)}: "
            "try a smaller batch, --set data.batch=..."
        )
