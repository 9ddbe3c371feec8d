"""Interleaved timing: every variant once per round, the median over rounds."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import perf_counter


def compare(variants: Mapping[str, Callable[[], object]], seconds: float = 2.0, rounds: int = 7) -> dict[str, float]:
    """Median seconds per call; each variant gets about `seconds` in all, and the variants take turns."""
    repeats = {}
    for name, call in variants.items():
        call()
        start = perf_counter()
        call()
        once = perf_counter() - start
        repeats[name] = max(1, round(seconds / rounds / max(once, 1e-7)))
    samples: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, call in variants.items():
            start = perf_counter()
            for _ in range(repeats[name]):
                call()
            samples[name].append((perf_counter() - start) / repeats[name])
    return {name: median(times) for name, times in samples.items()}


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table; floats with three significant digits."""
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(_cell(value) for value in row) + " |")
    print(flush=True)


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
