"""``alexdsl sweep``: variants of a spec times seeds, as runs that are gone on with, and what came of them."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alexdsl.cli import InputError, main
from alexdsl.cli.common import EXPERIMENTS, device_arguments, overrides, packaged, set_argument

if TYPE_CHECKING:
    from alexdsl.spec import Spec
    from alexdsl.sweep.plan import Sweep, Variant
    from alexdsl.sweep.runs import Job, Run

SWEEPS = Path("sweeps")
WRONG_INPUT = 2


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """examples:
  alexdsl sweep specs/experiments/relu-tanh.yaml               every variant and seed, then a table and a picture
  alexdsl sweep specs/experiments/relu-tanh.yaml               the same again: goes on where it was stopped or killed
  alexdsl sweep specs/experiments/relu-tanh.yaml --seeds 10    more seeds of the same
  alexdsl sweep specs/experiments/relu-tanh.yaml --report      table and picture of what is there
"""
    command.add_argument("sweep", metavar="FILE", help="a sweep's file, such as specs/experiments/relu-tanh.yaml")
    set_argument(command)
    command.add_argument(
        "--seeds", metavar="N", help="how many seeds, from 0 on, or which: 0,4,7 (default: the file's)"
    )
    command.add_argument("--out", metavar="DIR", type=Path, help="the folder of its runs (default: sweeps/NAME)")
    command.add_argument(
        "--only", metavar="VARIANT", action="append", default=[], help="train only this variant; may be repeated"
    )
    command.add_argument("--report", action="store_true", help="train nothing; table and picture of what is there")
    device_arguments(command)


def run(args: argparse.Namespace) -> int:
    """Train what is left to train, then report; see ``arguments``."""
    from alexdsl.data.errors import DataError
    from alexdsl.sweep.plan import read_sweep
    from alexdsl.train.checkpoint import CheckpointError
    from alexdsl.train.folder import RunError

    sweep = read_sweep(packaged(args.sweep, ".yaml", (EXPERIMENTS,)))
    base = args.out or SWEEPS / sweep.name
    try:
        jobs = _jobs(args, sweep, base)
        looked = _looked(jobs)
        code = 0 if args.report else _train(args, looked)
        if code != WRONG_INPUT:
            _report(sweep, base, _looked(jobs))
    except (RunError, CheckpointError, DataError) as error:
        raise InputError(str(error)) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"error: the sweep cannot go on at {error.filename or base}: {error.strerror or error}", file=sys.stderr)
        return 1
    return code


def _jobs(args: argparse.Namespace, sweep: Sweep, base: Path) -> dict[str, list[Job]]:
    """Every variant's jobs, in the order of seeds. Raises InputError before anything runs."""
    from alexdsl.sweep.plan import seeds_of
    from alexdsl.sweep.runs import Job, folder_of

    seeds = sweep.seeds if args.seeds is None else seeds_of(args.seeds)
    if not seeds:
        raise InputError(f"--seeds {args.seeds}: expects how many (5), or which (0,4,7)")
    names = [variant.name for variant in sweep.variants]
    for name in args.only:
        if name not in names:
            raise InputError(f"--only {name}: the sweep's variants are {', '.join(names)}")
    more = overrides(args.set)
    found: dict[str, list[Job]] = {}
    for variant in sweep.variants:
        specs = [_spec(sweep, variant, more, seed) for seed in seeds]
        _check_measures(sweep, variant.name, specs[0])
        if not args.report:
            _check_held_out(sweep, variant.name, specs[0])
        pairs = zip(seeds, specs, strict=True)
        found[variant.name] = [Job(variant.name, s, spec, folder_of(base, variant.name, s)) for s, spec in pairs]
    return found


def _spec(sweep: Sweep, variant: Variant, more: Mapping[str, str], seed: int) -> Spec:
    """A variant's spec; what is wrong with it is said with the variant's name. Raises InputError."""
    from alexdsl.language import SpecError
    from alexdsl.spec import load, with_overrides

    try:
        return load(variant.spec, set=with_overrides(variant.overrides, more), seed=seed)
    except SpecError as error:
        raise InputError(f"variant '{variant.name}' of {sweep.path}:\n{error}") from error


def _check_measures(sweep: Sweep, variant: str, spec: Spec) -> None:
    """Refuse to measure what no run logs. Raises InputError."""
    from alexdsl.language import suggest
    from alexdsl.sweep.measures import known_metrics

    known = known_metrics(label for label in spec.shaped.outputs if label != "logits")
    for measure in sweep.measures:
        if measure.metric not in known:
            near = suggest(measure.metric, known)
            hint = f"did you mean '{near}'?" if near else f"it logs {', '.join(known)}"
            where = f"measure '{measure.label}' of {sweep.path}"
            raise InputError(f"{where}: variant '{variant}' has no metric '{measure.metric}'; {hint}")


def _check_held_out(sweep: Sweep, variant: str, spec: Spec) -> None:
    """Refuse to measure validations where there are none. Raises InputError, DataError."""
    from alexdsl.data.resolve import resolve

    asked = next((measure.label for measure in sweep.measures if measure.metric.startswith("val.")), None)
    if asked is not None and spec.data is not None and resolve(spec.data).val is None:
        raise InputError(f"measure '{asked}' of {sweep.path}: variant '{variant}' has no held-out images (data.val)")


def _looked(jobs: Mapping[str, Sequence[Job]]) -> dict[str, list[Run]]:
    """The jobs as they stand. Raises RunError where one was run otherwise."""
    from alexdsl.sweep.runs import look

    return {name: [look(job) for job in some] for name, some in jobs.items()}


def _train(args: argparse.Namespace, looked: Mapping[str, Sequence[Run]]) -> int:
    """Do what is left, seed by seed so that variants can be compared early; the exit code of what stopped it, or 0."""
    chosen = args.only or list(looked)
    turns = [run for turn in zip(*(looked[name] for name in looked if name in chosen), strict=True) for run in turn]
    left = [run for run in turns if not run.over]
    if len(left) < len(turns):
        print(f"{len(turns) - len(left)} of {len(turns)} runs are over", flush=True)
    for number, run in enumerate(left, 1):
        job = run.job
        print(f"run {number} of {len(left)}: {job.variant}, seed {job.seed}", flush=True)
        code = main(["run", *_words(args, run)])
        if code and not _diverged(job):
            return code
    return 0


def _words(args: argparse.Namespace, run: Run) -> list[str]:
    """What ``alexdsl run`` is told: it begins a run, or goes on with it."""
    from alexdsl.sweep.runs import NOT_BEGUN

    job = run.job
    where = ["--device", args.device, *(["--map", args.map] if args.map else [])]
    if run.state != NOT_BEGUN:
        return ["--resume", str(job.folder), *where]
    changed = [word for name, value in job.spec.overrides.items() for word in ("--set", f"{name}={value}")]
    return [str(job.spec.path), *changed, "--seed", str(job.seed), "--out", str(job.folder), *where]


def _diverged(job: Job) -> bool:
    from alexdsl.sweep.runs import DIVERGED, look

    return look(job).state == DIVERGED


def _report(sweep: Sweep, base: Path, looked: Mapping[str, Sequence[Run]]) -> None:
    """Write table, picture and numbers into the sweep's folder, and print the table. Raises OSError."""
    from alexdsl.files import write_whole
    from alexdsl.sweep.picture import picture
    from alexdsl.sweep.results import results
    from alexdsl.sweep.table import facts, markdown, notes, rows, shown

    found = results(sweep, looked)
    base.mkdir(parents=True, exist_ok=True)
    write_whole(base / "results.json", json.dumps(facts(found), indent=1) + "\n")
    write_whole(base / "results.md", markdown(found))
    drawn = picture(found)
    if drawn is not None:
        file = io.BytesIO()
        drawn.save(file, "PNG")
        write_whole(base / "sweep.png", file.getvalue())
    print(f"\n{sweep.title}")
    for line in (*shown(rows(found)), *notes(found)):
        print(line)
    print(f"written: {base}/results.md, results.json" + (", sweep.png" if drawn is not None else ""))
