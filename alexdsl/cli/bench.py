"""``alexdsl bench``: what every layer of a net takes, forward, backward and to update, against the machine's floor."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from alexdsl.cli import InputError
from alexdsl.cli.common import device_arguments, devices, load_spec, spec_argument, tune_argument, tuned

if TYPE_CHECKING:
    from alexdsl.ir.backend import Rates
    from alexdsl.ir.graph import Graph, Op
    from alexdsl.ir.protocol import Registry

MOVES = ("slice", "join", "copy", "convert", "sum", "accumulate", "mean", "constant")


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """examples:
  alexdsl bench specs/alexnet.net --set data.batch=32
  alexdsl bench specs/resnet-18.net --mode predict --json

floor is the longer of the op's multiply-adds at the machine's rate and its bytes, each moved once, at its bandwidth;
an op can be below it where what it reads is still in a cache, or where its algorithm multiplies less.
"""
    spec_argument(command)
    device_arguments(command)
    tune_argument(command)
    command.add_argument("--mode", choices=("train", "predict"), default="train", help="a training step (default)")
    command.add_argument("--rounds", metavar="N", type=int, default=5, help="runs, of which medians (default: 5)")
    command.add_argument("--json", action="store_true", help="the same as JSON")


@dataclass(frozen=True)
class Line:
    """What a layer's ops of one phase take: milliseconds, and per second what they do; the floor where it is known."""

    layer: str
    phase: str
    milliseconds: float
    share: float
    gflops: float
    gbytes: float
    floor: float | None


def run(args: argparse.Namespace) -> int:
    """Measure; see ``arguments``."""
    import numpy as np

    from alexdsl.ir.backend import Gap, Unavailable
    from alexdsl.program import compile

    if args.rounds < 1:
        raise InputError("--rounds expects a number of at least 1")
    spec = load_spec(args)
    try:
        choice = devices(args, spec.graph.attrs["devices"])
        program = compile(spec, choice.backend, device=choice.bound)
        if args.tune is not None:
            print(tuned(program, args.tune), file=sys.stderr)
        executable = program.use(args.mode)
        graph = program.graph(args.mode)
        random = np.random.default_rng(0)
        for op in graph:
            if op.kind == "input":
                type = graph.type(op.name)
                floats = random.standard_normal(type.shape).astype(np.float32) * (50 if len(type.shape) == 4 else 1e-6)
                executable.write(op.name, floats if type.dtype == "f32" else np.zeros(type.shape, np.int64))
        executable.timed()
        rounds = [executable.timed() for _ in range(args.rounds)]
        rates = program.backend.rates(next(iter(choice.bound.values())))
        program.close()
    except (Gap, Unavailable, MemoryError) as error:
        raise InputError(str(error)) from error
    times = {op.name: median(found[i][1] for found in rounds) for i, (op, _) in enumerate(rounds[0])}
    found = lines(graph, [op for op, _ in rounds[0]], times, spec.registry, rates)
    total = sum(times.values())
    if args.json:
        facts = {"milliseconds": 1e3 * total, "batch": program.batch, "rates": asdict(rates) if rates else None}
        print(json.dumps({**facts, "lines": [asdict(line) for line in found]}, indent=1))
    else:
        _show(found, total, program.batch, rates)
    return 0


def lines(
    graph: Graph, ops: Sequence[Op], times: Mapping[str, float], registry: Registry, rates: Rates | None
) -> list[Line]:
    """A line for each layer and phase in the order of the step, its towers and slices together."""
    from alexdsl.ir.semantics import Semantics

    semantics, total = Semantics(registry), sum(times.values())
    sums: dict[tuple[str, str], list[float]] = {}
    for op in ops:
        work = semantics.multiply_adds(op.kind, graph.types(op.operands), op.attrs)
        moved = sum(t.bytes for t in graph.types([*op.operands, *(r.name for r in op.results)]))
        floor = max(work / rates.multiply_adds, moved / rates.bytes) if rates else 0.0
        found = sums.setdefault((op.layer.partition(".")[0] or op.kind, _phase(op, registry)), [0.0, 0.0, 0.0, 0.0])
        for i, amount in enumerate((times[op.name], work, moved, floor)):
            found[i] += amount
    return [
        Line(
            layer,
            phase,
            1e3 * seconds,
            seconds / total,
            2e-9 * work / seconds,
            1e-9 * moved / seconds,
            1e3 * floor if rates else None,
        )
        for (layer, phase), (seconds, work, moved, floor) in sums.items()
    ]


def _phase(op: Op, registry: Registry) -> str:
    kinds = op.kind.split("+")
    if kinds[-1] in registry.solvers:
        return "update" if len(kinds) == 1 else "backward, update"
    if kinds[0] in MOVES:
        return "moves"
    return "backward" if any(kind.endswith("_grad") for kind in kinds) else "forward"


def _show(found: Sequence[Line], total: float, batch: int, rates: Rates | None) -> None:
    def number(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:,.{digits}f}"

    rows: list[Sequence[str]] = [("layer", "phase", "ms", "share", "GFLOP/s", "GB/s", "floor ms", "of floor")]
    for line in found:
        part = "" if not line.floor or not line.milliseconds else f"{line.floor / line.milliseconds:.0%}"
        speed = number(line.gflops, 1) if line.gflops else ""
        rows.append(
            (line.layer, line.phase, number(line.milliseconds, 3), f"{line.share:.1%}", speed, number(line.gbytes, 1),
             number(line.floor, 3), part)
        )  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{text:{'<' if i < 2 else '>'}{widths[i]}}" for i, text in enumerate(row)).rstrip())
    print()
    sums = _sums(found)
    print(f"{1e3 * total:,.1f} ms for {batch} images ({', '.join(f'{k} {v:,.1f}' for k, v in sums.items())} ms)")
    print(f"{batch / total:,.1f} images/s with every op by itself")
    if rates:
        print(f"floors by {2e-9 * rates.multiply_adds:,.0f} GFLOP/s and {1e-9 * rates.bytes:,.0f} GB/s: {rates.source}")


def _sums(found: Sequence[Line]) -> dict[str, Any]:
    sums: dict[str, float] = {}
    for line in found:
        sums[line.phase] = sums.get(line.phase, 0.0) + line.milliseconds
    return sums
