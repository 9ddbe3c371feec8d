"""The CUDA kernels of whole nets without a GPU: what they are compiled to, what they execute and move, and how long a
step should take: ``python -m benchmarks.kernels --arch sm_80,sm_90``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

from alexdsl_cuda.machine import Machine, machine

from benchmarks.bars import table
from benchmarks.kernels_bars import exemptions, shortfalls
from benchmarks.kernels_launches import Net, Subject, largest, of_net
from benchmarks.kernels_measured import Measured, measure, warm_up
from benchmarks.kernels_step import Predicted, predict, text
from benchmarks.kernels_table import HEADINGS, NAMES, row

CARDS = {"sm_80": "a100", "sm_90": "h100"}
"""The card for which a step is predicted, by processor."""
NETS = ("alexnet", "vgg-a", "resnet-18")
PRECISIONS = ("fp32", "bf16")
PREDICTED = "alexnet"


def main() -> int:
    """Print a table of every net's launches, then what falls short; 1 if anything does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="sm_80,sm_90", help="processors, of sm_80 and sm_90 (default: both)")
    parser.add_argument("--specs", default=",".join(NETS), help=f"packaged nets (default: {','.join(NETS)})")
    parser.add_argument("--precision", default=",".join(PRECISIONS), help="of products: fp32, bf16 (default: both)")
    parser.add_argument("--batch", type=int, default=128, help="images of a step (default: 128)")
    parser.add_argument("--processes", type=int, default=2, help="kernels that are compiled at once (default: 2)")
    parser.add_argument("--json", action="store_true", help="one object for programs instead of tables")
    args = parser.parse_args()
    unknown = set(args.arch.split(",")) - set(CARDS)
    if unknown:
        parser.error(f"--arch {', '.join(sorted(unknown))}: known are {', '.join(CARDS)}")
    asked = args.precision.split(",")
    if unknown := set(asked) - set(PRECISIONS):
        parser.error(f"--precision {', '.join(sorted(unknown))}: known are {', '.join(PRECISIONS)}")
    cards = [machine(CARDS[arch]) for arch in args.arch.split(",")]
    nets = [of_net(name, args.batch, precision) for name in args.specs.split(",") for precision in asked]
    measured = measure_all([s for net in nets for s in net.subjects], cards, args.processes)
    steps = [predictions(net, measured, cards) if net.name == PREDICTED else () for net in nets]
    missed = [dict(missing(net, measured)) for net in nets]
    shown = list(zip(nets, steps, missed, strict=True))
    if args.json:
        print(json.dumps([_object(net, measured, step, short) for net, step, short in shown], indent=1))
    else:
        print(f"{HEADINGS}\n")
        for net, step, short in shown:
            print("\n".join(_report(net, measured, step, short)), flush=True)
    return int(any(missed))


def measure_all(found: Sequence[Subject], cards: Sequence[Machine], processes: int) -> Mapping[str, Measured]:
    """Every kernel measured at its largest grid, by several processes."""
    kernels = largest(found)
    measured: dict[str, Measured] = {}
    # Not forked: Numba's threads would not live on.
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=warm_up) as pool:
        waiting: dict[Future[Measured], str] = {
            pool.submit(measure, s, [card.capability for card in cards]): s.kernel for s in kernels.values()
        }
        for done in as_completed(waiting):
            measured[waiting[done]] = done.result()
            _progress(f"{len(measured)} of {len(kernels)} kernels: {waiting[done]}")
    _progress("")
    return measured


def _progress(words: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)


def predictions(net: Net, measured: Mapping[str, Measured], cards: Sequence[Machine]) -> Sequence[Predicted]:
    return [predict(net.subjects, measured, net.floor, card) for card in cards]


def missing(net: Net, measured: Mapping[str, Measured]) -> Iterator[tuple[str, list[str]]]:
    """What falls short, by launch."""
    for subject in net.subjects:
        found = list(shortfalls(subject, measured))
        if found:
            yield _name(subject), found


def _name(subject: Subject) -> str:
    return f"{subject.op} ({subject.kernel}, grid {'x'.join(map(str, subject.grid))})"


def _report(
    net: Net, measured: Mapping[str, Measured], steps: Sequence[Predicted], missed: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    launches = sum(s.times for s in net.subjects)
    yield f"{net.name}, batch {net.batch}, {net.precision}: {launches} launches, {len(net.subjects)} different"
    yield from table([row(subject, measured) for subject in net.subjects], left=NAMES)
    for subject in net.subjects:
        for words in exemptions(subject, measured[subject.kernel]):
            yield f"exempt: {_name(subject)}: {words}"
    for name, found in missed.items():
        yield from (f"SHORT: {name}: {words}" for words in found)
    for predicted in steps:
        yield f"predicted, {predicted.card.name}, both towers on one card:"
        yield from text(predicted, net.batch)
    yield ""


def _object(
    net: Net, measured: Mapping[str, Measured], steps: Sequence[Predicted], missed: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    return {
        "net": net.name,
        "precision": net.precision,
        "batch": net.batch,
        "launches": [row(subject, measured) for subject in net.subjects],
        "exempt": {_name(s): words for s in net.subjects if (words := list(exemptions(s, measured[s.kernel])))},
        "short": missed,
        "predicted": {p.card.name: {"seconds": p.seconds, "floor": p.floor, "sorts": p.sorts} for p in steps},
    }


if __name__ == "__main__":
    sys.exit(main())
