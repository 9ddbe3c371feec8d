"""``alexdsl run``: trains a net from its spec, into a run folder, from the start or from where a run stopped."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from alexdsl.cli import InputError
from alexdsl.cli.common import device_arguments, set_argument, tune_argument, tuned
from alexdsl.cli.run.checks import check_fit, check_memory
from alexdsl.cli.run.job import RUNS, SAVE_EVERY, Job, choice_of, job_of

if TYPE_CHECKING:
    from alexdsl.cli.show import Show
    from alexdsl.data.resolve import Resolved
    from alexdsl.data.statistics import Statistics
    from alexdsl.program import Program
    from alexdsl.spec import Spec
    from alexdsl.train.folder import RunFolder
    from alexdsl.train.interrupts import Patience


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
    device_arguments(command)
    command.add_argument(
        "--checks",
        action="store_true",
        help="with --device emu: look at every access of every kernel, for races and strays",
    )
    tune_argument(command)
    command.add_argument("--seed", metavar="N", type=int, default=None, help="seed of every random number (default: 0)")
    command.add_argument(
        "--save-every",
        metavar="N",
        type=int,
        help=f"steps between checkpoints, beside those at validations (default: {SAVE_EVERY})",
    )
    command.add_argument(
        "--keep",
        metavar="N",
        type=int,
        help="last checkpoints that stay, beside the best by validation (default: 2)",
    )
    command.add_argument(
        "--strict-health", action="store_true", help="stop, with exit code 1 and saved, where the run's health is amiss"
    )
    command.add_argument(
        "--init-from",
        metavar="DIR",
        type=Path,
        help="begin with the weights of a checkpoint or run, those that fit by name and shape",
    )
    command.add_argument(
        "--tensorboard",
        action="store_true",
        help="insist on TensorBoard's events in the run's folder, which are written wherever tensorboardX is installed",
    )
    command.add_argument(
        "--resume", metavar="DIR", nargs="?", const="", help="go on with the run in DIR, or with the newest one"
    )


def run(args: argparse.Namespace) -> int:
    """Train; see ``arguments``."""
    from rich.console import Console

    from alexdsl.cli.show import Show
    from alexdsl.data.errors import DataError, WorkerError
    from alexdsl.ir.backend import Fault, Gap, Unavailable
    from alexdsl.train.checkpoint import CheckpointError
    from alexdsl.train.folder import BusyError, RunError
    from alexdsl.train.output import unbroken_output

    # A run is there for its folder: it goes on when nobody reads what it says.
    show = Show(Console(file=unbroken_output()))
    try:
        return _run(args, show)
    except BusyError as error:
        raise InputError(str(error)) from error
    except (RunError, WorkerError, MemoryError, Fault) as error:
        show.close()
        print(f"error: {error or 'out of memory'}", file=sys.stderr)
        return 1
    except OSError as error:
        show.close()
        where = f" at {error.filename}" if error.filename else ""
        print(f"error: the run cannot go on{where}: {error.strerror or error}", file=sys.stderr)
        return 1
    except (DataError, CheckpointError, Gap, Unavailable) as error:
        raise InputError(str(error)) from error
    finally:
        show.close()


def _run(args: argparse.Namespace, show: Show) -> int:
    from alexdsl.cli.show import MEASURING
    from alexdsl.data.resolve import resolve
    from alexdsl.data.statistics import statistics
    from alexdsl.fitting import RUN
    from alexdsl.ir.text import print_graph
    from alexdsl.program import compile
    from alexdsl.train.events import installed
    from alexdsl.train.interrupts import Patience

    if args.tensorboard and not installed():
        raise InputError("--tensorboard needs tensorboardX: pip install 'alexdsl[tensorboard]'")
    job = job_of(args)
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
    check_fit(spec, resolved)
    patience = Patience()
    choice = choice_of(args, job)
    check_memory(spec, choice, "the run", RUN)
    show.note(f"runs on {', '.join(dict.fromkeys(choice.bound.values()))}: {choice.why}")
    known = job.folder.facts.get("strategies") if job.folder else None
    program = compile(spec, choice.backend, device=choice.bound, seed=spec.seed, strategies=known, progress=patience)
    if args.tune is not None:
        with show.working("tuning (kernels that were never used here are compiled first)"), patience.held():
            words = tuned(program, args.tune)
        show.note(words)
    with show.counting(MEASURING) as measuring:
        measured = statistics(resolved.train, spec.data, progress=measuring)
    folder = job.folder or _created(args, spec)
    with folder.held():
        if job.folder is None:
            facts = {
                "spec": str(spec.source.name),
                "overrides": dict(spec.overrides),
                "seed": spec.seed,
                "save_every": job.save_every,
                "keep": job.keep,
                **({"init_from": str(args.init_from)} if args.init_from else {}),
                "devices": dict(choice.bound),
                "strategies": dict(program.strategies),
            }
            folder.describe(facts, spec.source.text, print_graph(program.graph("train")))
        if folder.path.parent == RUNS:
            folder.become_newest()
        return _train(job, folder, program, patience, resolved, measured, show, args.strict_health)


def _train(
    job: Job,
    folder: RunFolder,
    program: Program,
    patience: Patience,
    resolved: Resolved,
    measured: Statistics,
    show: Show,
    strict: bool,
) -> int:
    """Train from the folder's last checkpoint, or from the start where there is none."""
    from alexdsl.data.loader import Loader
    from alexdsl.ir.text import print_graph
    from alexdsl.train.checkpoint import read_state, take_weights
    from alexdsl.train.keeping import best_step, remove_others
    from alexdsl.train.loop import Trainer

    spec = job.spec
    assert spec.data is not None
    last = folder.last_checkpoint() if job.folder else None
    state = None
    if last is not None:
        with folder.reading(last):
            state = read_state(last)
    with Loader(resolved.train, spec.data, measured, spec.seed, val=resolved.val) as loader:
        steps = _steps(spec, loader)
        if state is not None and state.step >= steps and not state.due:
            remove_others(folder.checkpoints, job.keep, best_step(spec, state.validations))
            show.note(f"{folder.path} has done its {state.step} steps; --steps or --epochs let it go further")
            return 0
        loader.prefetch(state.step if state else 0)
        with show.working("loading kernels (the first time on a machine they are compiled)"), patience.held():
            program.use("train")
        imagined = set(program.bound.values()) & set(program.backend.imagined)
        trainer = Trainer(
            program,
            loader,
            measured,
            tuple(resolved.classes),
            folder,
            show,
            steps,
            job.save_every,
            job.keep,
            not imagined,
            strict,
        )
        if imagined:
            name = "".join(sorted(imagined))
            show.note(f"{name} is slow: the last step is validated only where solver.validate or an epoch asks for it")
        if last is not None and state is not None:
            with folder.reading(last):
                trainer.resume(last, state)
        if job.folder:
            # Only now that the checkpoint has been taken: a refused one leaves the run as it was.
            folder.rewind(program.steps, trainer.due)
            for line in job.changes:
                show.note(line)
            if (dict(spec.overrides), spec.source.text) != (folder.facts["overrides"], folder.spec_text) or job.changes:
                folder.change(spec.overrides, spec.source.text, print_graph(program.graph("train")))
        source = folder.facts.get("init_from")
        if source and state is None:
            with show.working(f"weights of {source}"):
                taken = take_weights(Path(source), program)
            for line in taken.lines:
                show.note(line)
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


def _created(args: argparse.Namespace, spec: Spec) -> RunFolder:
    from alexdsl.train.folder import RunError, RunFolder

    try:
        return RunFolder.create(args.out or RunFolder.next_free(RUNS, spec.name))
    except RunError as error:
        raise InputError(str(error)) from error


def _steps(spec: Spec, loader: object) -> int:
    from alexdsl.data.loader import Loader

    assert isinstance(loader, Loader)
    if spec.solver.steps is not None:
        return spec.solver.steps
    if spec.solver.epochs is None:
        raise InputError("the solver does not say how long to train: add epochs = ... or steps = ..., or use --steps")
    return loader.steps(spec.solver.epochs)
