"""Interleaved timing: every variant once a round, the median over rounds; rounds wait for quiet cores."""

import os
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, sleep
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)
JIFFY = 1 / os.sysconf("SC_CLK_TCK")
PATIENCE = float(os.environ.get("PATIENCE", "60"))  # seconds to wait for quiet cores, per comparison
CORES = os.sched_getaffinity(0)


def compare(variants: Mapping[Name, Callable[[], object]], seconds: float = 2.0, rounds: int = 7) -> dict[Name, float]:
    """Median seconds per call; each variant gets about `seconds` in all, and the variants take turns."""
    repeats = {}
    for name, call in variants.items():
        call()
        start = perf_counter()
        call()
        once = perf_counter() - start
        repeats[name] = max(1, round(seconds / rounds / max(once, 1e-7)))
    samples: list[dict[Name, float]] = []
    disturbed, patience = 0, PATIENCE
    while len(samples) < rounds:
        patience = _wait_for_quiet(patience)
        round_start, foreign = perf_counter(), _others()
        sample = {}
        for name, call in variants.items():
            start = perf_counter()
            for _ in range(repeats[name]):
                call()
            sample[name] = (perf_counter() - start) / repeats[name]
        share = (_others() - foreign - 3 * JIFFY) / (perf_counter() - round_start)
        if share < 0.03 or patience <= 0:
            samples.append(sample)
            disturbed += share >= 0.03
    if disturbed:
        print(f"({disturbed} of {rounds} rounds were disturbed: others used these cores)", file=sys.stderr)
    return {name: median(sample[name] for sample in samples) for name in variants}


def _wait_for_quiet(patience: float) -> float:
    """Sleep until nobody else runs on our cores, for at most `patience` seconds; what is left of it."""
    while patience > 0:
        before = _others()
        sleep(0.3)
        if _others() - before <= 2 * JIFFY:
            break
        patience -= 0.3
    return patience


def _others() -> float:
    """Seconds that our cores have spent on anything but this process."""
    busy = 0
    for line in Path("/proc/stat").read_text().splitlines():
        label, *fields = line.split()
        if label.startswith("cpu") and label[3:].isdigit() and int(label[3:]) in CORES:
            busy += sum(int(fields[i]) for i in (0, 1, 2, 5, 6, 7))  # all but idle and waiting; 7 is stolen by the host
    return busy * JIFFY - process_time()


def table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table; floats with three significant digits."""
    print("| " + " | ".join(map(str, header)) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(_cell(value) for value in row) + " |")
    print(flush=True)


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
