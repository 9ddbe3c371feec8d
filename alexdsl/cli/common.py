"""What several commands share: reading a spec with its overrides, numbers for people."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alexdsl.cli import InputError

if TYPE_CHECKING:
    from alexdsl.devices import Choice
    from alexdsl.ir.backend import Backend
    from alexdsl.program import Program
    from alexdsl.spec import Spec

SPECS = Path("specs")
EXPERIMENTS = SPECS / "experiments"


def spec_argument(command: argparse.ArgumentParser) -> None:
    """SPEC and ``--set``."""
    command.add_argument("spec", metavar="SPEC", help="a spec file, such as specs/alexnet.net")
    set_argument(command)


def set_argument(command: argparse.ArgumentParser) -> None:
    """``--set``."""
    what = "override a leaf of the spec, such as solver.lr=0.02 or data.batch=32"
    command.add_argument("--set", metavar="LEAF=VALUE", action="append", default=[], help=what)


def backend_argument(command: argparse.ArgumentParser) -> None:
    """``--backend``."""
    command.add_argument("--backend", metavar="NAME", default="cpu", help="the backend to compile for (default: cpu)")


def device_arguments(command: argparse.ArgumentParser) -> None:
    """``--device`` and ``--map``."""
    command.add_argument(
        "--device",
        metavar="D",
        default="auto",
        help="auto (a GPU if there is one, else the CPU), cpu, cuda, cuda:1, emu (the GPU's kernels without a GPU), "
        "sim (Numba's simulator, for toy sizes) (default: auto)",
    )
    command.add_argument(
        "--map", metavar="A=D,B=D", help="bind logical devices of the spec to real ones: gpu0=cuda:0,gpu1=cuda:1"
    )


def tune_argument(command: argparse.ArgumentParser) -> None:
    """``--tune``."""
    command.add_argument(
        "--tune",
        metavar="SECONDS",
        nargs="?",
        type=float,
        const=30.0,
        help="measure the strategies of every op for at most so many seconds (30) and take the fastest",
    )


def tuned(program: Program, seconds: float) -> str:
    """Tunes a program that is not yet loaded; what came of it. Raises InputError where time means nothing."""
    imagined = set(program.bound.values()) & set(program.backend.imagined)
    if imagined:
        raise InputError(f"--tune: {''.join(imagined)} runs kernels without the hardware that they are timed for")
    if not 0 < seconds < float("inf"):
        raise InputError("--tune expects a number of seconds above 0")
    found, sorts = program.tune(seconds)
    changed = [one for one in found if one.chosen != one.default]
    words = [
        f"{one.layer.partition('.')[0]} {one.kind} by {one.chosen} ({1e3 * one.seconds[one.chosen]:.1f} ms) "
        f"instead of {one.default} ({1e3 * one.seconds[one.default]:.1f} ms)"
        for one in changed
    ]
    short = f" (of {sorts}; time was up: kernels are compiled when they are first used)" if len(found) < sorts else ""
    return f"tuned {len(found)} sorts of ops{short}: {'; '.join(words) or 'the defaults are the fastest'}"


def devices(args: argparse.Namespace, logical: Sequence[str], known: Mapping[str, str] | None = None) -> Choice:
    """Where the logical devices are, by ``--device`` and ``--map``; where neither is given, where they are ``known`` to
    be. Raises InputError, Unavailable."""
    from alexdsl.devices import choose

    bound: dict[str, str] = {}
    for pair in args.map.split(",") if args.map else ():
        name, equals, device = pair.partition("=")
        if not equals or not name or not device:
            raise InputError(f"--map {args.map}: expects LOGICAL=DEVICE pairs, such as gpu0=cuda:0,gpu1=cuda:1")
        bound[name] = device
    if args.device == "auto" and not bound:
        bound = dict(known or {})
    return choose(args.device, logical, bound)


def find_backend(name: str) -> Backend:
    """An installed backend. Raises InputError listing those there are."""
    from alexdsl.registry import backend

    try:
        return backend(name)
    except LookupError as error:
        raise InputError(str(error)) from error
    except (AttributeError, ImportError) as error:
        raise InputError(f"the backend '{name}' is not built yet") from error


def overrides(pairs: Sequence[str]) -> dict[str, str]:
    """``--set`` arguments as a mapping. Raises InputError."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise InputError(f"--set {pair}: expects LEAF=VALUE, such as solver.lr=0.02")
        found[name.strip()] = value.strip()
    return found


def spec_path(name: str) -> Path:
    """The file that a command's SPEC names; see ``packaged``."""
    return packaged(name, ".net", (SPECS, EXPERIMENTS))


def packaged(name: str, ending: str, folders: Sequence[Path]) -> Path:
    """``alexnet``, ``alexnet.net`` and ``specs/alexnet.net`` are files that come with alexdsl, unless there is such a
    file here; a bare name is looked for in the first of the folders."""
    path = Path(name)
    folder = next((f for f in folders if path.parent in (Path(), f)), None)
    if path.exists() or folder is None:
        return path
    package = Path(__file__).parents[1]
    base = package if (package / SPECS).is_dir() else package.parent
    found = (base / folder / path.name).with_suffix(ending)
    return found if found.is_file() else path


def load_spec(args: argparse.Namespace, seed: int = 0) -> Spec:
    """The spec that the arguments name; warnings go to stderr."""
    from alexdsl.spec import load

    spec = load(spec_path(args.spec), set=overrides(args.set), seed=seed)
    for warning in spec.warnings:
        print(warning.render(), file=sys.stderr)
    return spec


def bytes_text(count: float) -> str:
    """``1.5 GB`` and the like, by powers of 1000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1000
    raise AssertionError


def seconds_text(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
