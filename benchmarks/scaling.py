"""How AlexNet's training scales with batches and cores, and what Python costs: ``python -m benchmarks.scaling``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from benchmarks.bars import Bar, arguments, conclude, table
from benchmarks.turns import Command, measured, some_cores

SPEC = "alexnet"
BATCHES = (16, 32, 64, 128, 256, 512)
SMALLEST = 32
"""The batch from which on the speed hardly depends on it."""
OF_BEST, OF_BEST_BELOW = 0.85, 0.75
"""Least part of the best speed, from ``SMALLEST`` on and below."""
OF_SGEMM = 0.93
"""Least part of what a second core brings to sgemm that it brings to a step."""
OVERHEAD = 0.01
"""Most of a step that is Python's."""
BATCH = 128
"""Images of the steps by which cores are compared."""


def batch_bars(speeds: Mapping[int, float]) -> Iterator[Bar]:
    """What is asked of images per second by batch."""
    best = max(speeds.values())
    for batch, speed in speeds.items():
        yield Bar(f"batch {batch}, of the best speed", speed / best, OF_BEST if batch >= SMALLEST else OF_BEST_BELOW)


def core_bars(seconds: Mapping[str, float]) -> Iterator[Bar]:
    """What is asked of seconds by ``alexdsl`` and ``sgemm`` on one core and two (``alexdsl 2``)."""
    brings = {name: seconds[f"{name} 1"] / seconds[f"{name} 2"] for name in ("alexdsl", "sgemm")}
    yield Bar("what two cores bring, of what they bring to sgemm", brings["alexdsl"] / brings["sgemm"], OF_SGEMM)


def overhead_bars(steps: Mapping[int, float], idle: Mapping[int, float]) -> Iterator[Bar]:
    """What is asked of seconds by batch, with kernels and without."""
    for batch, seconds in idle.items():
        yield Bar(f"batch {batch}, Python's part of a step", seconds / steps[batch], OVERHEAD, most=True)


def main() -> int:
    """Print speeds, ratios and bars; 1 where a bar is missed."""
    parser = arguments(__doc__)
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    parser.add_argument("--batch", type=int, default=BATCH, help=f"of the comparison of cores (default: {BATCH})")
    args = parser.parse_args()
    batches, cores = [int(batch) for batch in args.batches.split(",")], some_cores(2)

    def by_batch(module: str) -> Mapping[int, float]:
        shared = ["--spec", SPEC, "--batch"]
        times = measured([Command(str(b), module, [*shared, b], cores) for b in batches], args.rounds)
        return {int(name): seconds for name, seconds in times.items()}

    # One after the other: together they would need twice the memory.
    steps, idle = by_batch("train_alexdsl"), by_batch("overhead_alexdsl")
    speeds = {batch: batch / seconds for batch, seconds in steps.items()}
    best = max(speeds.values())
    print(f"training AlexNet on 2 cores; medians of {args.rounds} rounds, peers taking turns")
    rows: list[Mapping[str, object]] = [
        {"batch": b, "images/s": speeds[b], "of best": speeds[b] / best, "Python, ms": 1e3 * idle[b],
         "of a step": idle[b] / steps[b]}
        for b in batches
    ]  # fmt: skip
    print("\n".join(table(rows)) + "\n", flush=True)
    wanted: list[Command] = []
    for count in (1, 2):
        wanted.append(Command(f"sgemm {count}", "machine", ["sgemm"], cores[:count]))
        shared = ["--spec", SPEC, "--batch", args.batch]
        wanted.append(Command(f"alexdsl {count}", "train_alexdsl", shared, cores[:count]))
    seconds = measured(wanted, args.rounds)
    rows = [
        {"": name, "1 core, s": seconds[f"{name} 1"], "2 cores, s": seconds[f"{name} 2"],
         "ratio": seconds[f"{name} 1"] / seconds[f"{name} 2"]}
        for name in ("alexdsl", "sgemm")
    ]  # fmt: skip
    print("\n".join(table(rows)))
    return conclude([*batch_bars(speeds), *core_bars(seconds), *overhead_bars(steps, idle)])


if __name__ == "__main__":
    sys.exit(main())
