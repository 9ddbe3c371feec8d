"""Every strategy of a spec's products, by itself: its time, its expected cost and its error against float64.

``python -m benchmarks.strategies specs/alexnet.net --batch 128`` times them, taking turns; ``--errors`` compares each,
on random numbers, with the reference in double precision.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from time import perf_counter

import numpy as np

import alexdsl
from alexdsl.ir.backend import Executable
from alexdsl.ir.graph import Graph
from alexdsl.ir.protocol import Array
from alexdsl.ir.semantics import Semantics
from alexdsl.passes.pipeline import at_stage
from alexdsl.registry import backend as find_backend
from alexdsl.registry import registry
from alexdsl.tuning import Tuner, alone, values


def products(spec: str, batch: int) -> Iterator[tuple[str, Graph]]:
    """(name, laid-out graph of the op alone) for every convolution and linear op of a step, equal ones once."""
    program = alexdsl.compile(alexdsl.load(spec, set={"data.classes": "1000"}), "cpu", batch=batch)
    graph = at_stage(program.spec.graph, program.options("train"), "laid-out")
    seen = set()
    for op in graph:
        if op.kind.split("+")[0].split("_")[0] not in ("conv", "linear"):
            continue
        key = op.kind.split("+")[0], graph.types(op.operands)
        if key not in seen:
            seen.add(key)
            yield f"{op.layer.split('.')[0]} {key[0]}", alone(graph, op)


def loaded(graph: Graph, name: str, threads: int | None) -> Executable:
    """The op under one of its strategies, its operands random."""
    backend, op = find_backend("cpu"), graph.ops[-1]
    found = backend.strategies(op, graph.types(op.operands), graph.types(r.name for r in op.results))
    return Tuner(registry(), backend, "cpu", threads).loaded(graph, next(s for s in found if s.name == name))


def error(graph: Graph, executable: Executable) -> float:
    """The largest relative error, by norms, of the op's results against its reference in double precision."""
    op, given = graph.ops[-1], {name: array.astype(np.float64) for name, array in values(graph)}
    semantics = Semantics(registry())
    expected: Sequence[Array] = semantics.reference(op.kind, [given[name] for name in op.operands], op.attrs)
    executable.run()
    found = [executable.read(r.name) for r in op.results]
    return max(float(np.linalg.norm(f - e) / np.linalg.norm(e)) for f, e in zip(found, expected, strict=True))


def main() -> None:
    """Print a row for every op and strategy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", nargs="?", default="specs/alexnet.net")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--layer", default="")
    parser.add_argument("--errors", action="store_true", help="errors instead of times; a small batch will do")
    args = parser.parse_args()
    backend = find_backend("cpu")
    print(f"{'op':<26} {'strategy':<12} " + ("error" if args.errors else "best ms  median  cost ms  GMAC/s"))
    for name, graph in products(args.spec, args.batch):
        if not name.startswith(args.layer):
            continue
        op = graph.ops[-1]
        types = graph.types(op.operands)
        kind = registry()[op.kind.split("+")[0]]
        adds = kind.multiply_adds(types, op.attrs["steps"][0]["attrs"] if "+" in op.kind else op.attrs)
        found = backend.strategies(op, types, [r.type for r in op.results if r.type])
        ready = {s.name: loaded(graph, s.name, args.threads) for s in found}
        if args.errors:
            for s in found:
                print(f"{name:<26} {s.name:<12} {error(graph, ready[s.name]):.1e}", flush=True)
            continue
        times: dict[str, list[float]] = {s.name: [] for s in found}
        for _ in range(args.rounds + 1):
            for strategy, executable in ready.items():
                start = perf_counter()
                executable.run()
                times[strategy].append(1e3 * (perf_counter() - start))
        for s in found:
            taken = sorted(times[s.name][1:])
            best, middle = taken[0], taken[len(taken) // 2]
            cost = 1e3 * s.cost / (args.threads or 2)
            print(
                f"{name:<26} {s.name:<12} {best:>7.2f} {middle:>7.2f} {cost:>8.2f} {adds / best / 1e6:>7.0f}",
                flush=True,
            )
        for executable in ready.values():
            executable.close()


if __name__ == "__main__":
    main()
