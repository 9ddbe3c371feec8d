"""How soon training AlexNet begins, and what an edited spec costs: ``python -m benchmarks.start``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import alexdsl
from alexdsl.cli.common import spec_path
from benchmarks.bars import Bar, arguments, conclude, cores_argument, table
from benchmarks.turns import pinned, some_cores

SPEC = "alexnet"
COLD, WARM, CHECK = 75.0, 3.0, 0.5
"""Most seconds from the command to the first step, with an empty cache and a full one; of a check."""
READY = " steps 0 to "
"""What the line says that ``alexdsl run`` prints when all is ready for the first step."""
USUAL = {"PYTHONDONTWRITEBYTECODE": ""}
"""Python keeps the modules that it has compiled, even where this process is told not to."""
EDIT = "conv5 = conv(256, kernel=3, pad=1)           | relu", "conv5 = conv(256, kernel=3, pad=1)           | tanh"
"""A line of the spec, and what it is edited to."""


def bars(times: Mapping[str, float], compiled: set[str], changed: set[str]) -> Iterator[Bar]:
    """What is asked of seconds by what was done, and of the kernels compiled for an edit that changed some."""
    for name, bound in (("cold", COLD), ("warm", WARM), ("check", CHECK)):
        yield Bar(f"{name}, seconds", times[name], bound, most=True)
    yield Bar("kernels that the edit changed", len(changed), 1)
    yield Bar("kernels compiled for the edit that it did not change", len(compiled - changed), 0, most=True)


def first_step(spec: Path, cache: Path, cores: Sequence[int]) -> float:
    """Seconds from the command to where its first step begins; it is stopped then."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "alexdsl.cli", "run", str(spec), "--device", "cpu", "--steps", "2"]
        start = perf_counter()
        process = subprocess.Popen(
            [*command, "--out", f"{folder}/run"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            **pinned(cores, ALEXDSL_CACHE=str(cache), **USUAL),
        )
        assert process.stdout is not None
        seconds = next((perf_counter() - start for line in process.stdout if READY in line), None)
        process.terminate()
        process.stdout.close()
        process.wait()
    if seconds is None:
        raise RuntimeError(f"alexdsl run {spec} ended with code {process.returncode} before its first step")
    return seconds


def check(spec: Path, cores: Sequence[int]) -> float:
    """Seconds of ``alexdsl check``."""
    start = perf_counter()
    command = [sys.executable, "-m", "alexdsl.cli", "check", str(spec)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, **pinned(cores, **USUAL))
    return perf_counter() - start


def edited(spec: Path, folder: Path) -> Path:
    """A copy of the spec with one line edited. Raises ValueError where it has no such line."""
    text = spec.read_text()
    if text.count(EDIT[0]) != 1:
        raise ValueError(f"{spec} has no line '{EDIT[0]}' to edit")
    path = folder / "edited.net"
    path.write_text(text.replace(*EDIT))
    return path


def kernels(spec: Path) -> set[str]:
    """The names of a training step's kernels, which their sources determine."""
    return set(alexdsl.compile(alexdsl.load(spec), "cpu").graph("train").kernels)


def machine_code(cache: Path) -> Mapping[Path, int]:
    """When each file of machine code was written."""
    return {path: path.stat().st_mtime_ns for path in cache.rglob("*.nbc")}


def compiled(before: Mapping[Path, int], after: Mapping[Path, int]) -> set[str]:
    """The kernels whose machine code was written in between."""
    return {path.name.split(".")[0] for path, written in after.items() if before.get(path) != written}


def main() -> int:
    """Print seconds, kernels and bars; 1 where a bar is missed."""
    parser = arguments(__doc__, rounds=3)
    cores_argument(parser)
    args = parser.parse_args()
    cores, spec = some_cores(args.cores), spec_path(SPEC)
    found: dict[str, list[float]] = {"cold": [], "warm": [], "edited": [], "check": []}
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            cache, other = Path(folder, "cache"), edited(spec, Path(folder))
            found["cold"].append(first_step(spec, cache, cores))
            found["warm"].append(first_step(spec, cache, cores))
            before = machine_code(cache)
            found["edited"].append(first_step(other, cache, cores))
            new = compiled(before, machine_code(cache))
            changed = kernels(other) - kernels(spec)
            found["check"].append(check(spec, cores))
    times = {name: median(seconds) for name, seconds in found.items()}
    print(f"from the command to the first step of AlexNet, {len(cores)} cores; medians of {args.rounds} rounds")
    print("\n".join(table([{"": name, "seconds": seconds} for name, seconds in times.items()])))
    print(f"of {len(kernels(spec))} kernels the edit changed {len(changed)}; compiled: {', '.join(sorted(new))}")
    return conclude(list(bars(times, new, changed)))


if __name__ == "__main__":
    sys.exit(main())
