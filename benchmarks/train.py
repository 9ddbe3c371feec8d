"""Training speed of nets against PyTorch, in one run: ``python -m benchmarks.train --peers torch,torch-compile``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from statistics import geometric_mean

from alexdsl.devices import choose
from alexdsl.ir.backend import Unavailable
from benchmarks.bars import Bar, arguments, conclude, cores_argument, peers_argument, table
from benchmarks.net import classes, flop, load
from benchmarks.turns import Command, interleave, running, some_cores

EAGER = ("torch nchw", "torch nhwc")
COMPILED, LIMIT = "torch.compile", "limit"
ALEXNET = {128: {"eager": 3.0, "compiled": 2.6, "limit": 1.0}, 32: {"eager": 2.6}}
"""At least this many times the speed of others on a CPU, by batch; ``limit`` is that of direct convolutions: what
sgemm could reach if all were products."""
OTHERS = {"eager": 1.0, "compiled": 1.0}
MEAN = 1.8
"""Geometric mean of the other nets' speeds over the fastest peer's."""
OF = {"eager": "PyTorch eager", "compiled": "torch.compile", "limit": "the direct-convolution limit"}


@dataclass(frozen=True)
class Result:
    """A net at a batch: images per second by peer, the limit among them where it was measured."""

    spec: str
    batch: int
    speeds: Mapping[str, float]

    @property
    def ratios(self) -> Mapping[str, float]:
        """alexdsl's speed over others'; not a number where they were not measured."""
        eager = [self.speeds[name] for name in EAGER if name in self.speeds]
        others = {"eager": max(eager, default=nan), "compiled": self.speeds.get(COMPILED, nan)}
        others["limit"] = self.speeds.get(LIMIT, nan)
        return {name: self.speeds["alexdsl"] / speed for name, speed in others.items()}

    @property
    def over_fastest(self) -> float:
        """alexdsl's speed over the fastest peer's; not a number without one."""
        peers = [speed for name, speed in self.speeds.items() if name in (*EAGER, COMPILED)]
        return self.speeds["alexdsl"] / max(peers, default=nan)

    def row(self) -> Mapping[str, object]:
        figures = {name: self.speeds.get(name, nan) for name in ("alexdsl", *EAGER, COMPILED, LIMIT)}
        return {"net": self.spec, "batch": self.batch, **figures, **{f"/ {n}": r for n, r in self.ratios.items()}}


def bars(results: Sequence[Result]) -> Iterator[Bar]:
    """What is asked on a CPU of what was measured: nothing of peers that were left out."""
    for result in results:
        asked = ALEXNET.get(result.batch, OTHERS) if result.spec == "alexnet" else OTHERS
        for name, bound in asked.items():
            if (ratio := result.ratios[name]) == ratio:
                yield Bar(f"{result.spec}, batch {result.batch}, over {OF[name]}", ratio, bound)
    others = [r.over_fastest for r in results if r.spec != "alexnet" and r.over_fastest == r.over_fastest]
    if others:
        yield Bar("other nets over the fastest peer, geometric mean", geometric_mean(others), MEAN)


def commands(peers: Sequence[str], spec: str, batch: int, device: str, cores: Sequence[int]) -> list[Command]:
    """The processes that take turns."""
    shared = ["--spec", spec, "--batch", batch, "--device", device]
    found = [Command("alexdsl", "train_alexdsl", shared, cores)]
    if "torch" in peers:
        found += [Command(name, "train_torch", [*shared, "--layout", name.split()[1]], cores) for name in EAGER]
    if "torch-compile" in peers:
        found.append(Command(COMPILED, "train_torch", [*shared, "--compile"], cores))
    if device == "cpu":
        found.append(Command(LIMIT, "machine", ["sgemm"], cores))
    return found


def measure(peers: Sequence[str], spec: str, batch: int | None, device: str, cores: int, rounds: int) -> Result:
    """Speeds of a net; without a batch, at the spec's own."""
    loaded = load(spec, batch)
    images: int = loaded.graph.attrs["batch"]
    with running(commands(peers, spec, images, device, some_cores(cores))) as found:
        times = interleave(found, rounds)
        amounts = {p.name: p.facts["amount"] / flop(loaded) if p.name == LIMIT else float(images) for p in found}
    return Result(spec, images, {name: amounts[name] / seconds for name, seconds in times.items()})


def obstacle(device: str, peers: Sequence[str]) -> str | None:
    """Why nothing can be measured on a device, if so."""
    try:
        choose(device, ["device0"])
    except Unavailable as error:
        return str(error)
    if device != "cpu" and peers:
        import torch

        if not torch.cuda.is_available():
            return f"PyTorch {torch.__version__} sees no CUDA device here: it needs a build for CUDA"
    return None


def main() -> int:
    """Print speeds, ratios and bars; 1 where a bar is missed, 2 where the device cannot be used."""
    parser = arguments(__doc__)
    peers_argument(parser, {"torch": "torch", "torch-compile": "torch"})
    cores_argument(parser)
    parser.add_argument("--specs", default="alexnet", help="packaged nets (default: alexnet)")
    parser.add_argument("--batches", help="default: 32,128 for alexnet, the spec's own for others")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: cpu)")
    args = parser.parse_args()
    # One card for everybody: alexdsl would spread towers over all there are.
    device = "cuda:0" if args.device == "cuda" else args.device
    if why := obstacle(device, args.peers):
        print(f"nothing was measured: {why}", file=sys.stderr)
        return 2
    where = f"{args.cores} cores" if device == "cpu" else device
    print(f"training, images/s on {where}; medians of {args.rounds} rounds, peers taking turns; float32", flush=True)
    results = []
    for spec in args.specs.split(","):
        for batch in map(int, args.batches.split(",")) if args.batches else (32, 128) if spec == "alexnet" else (None,):
            results.append(measure(args.peers, spec, batch, device, args.cores, args.rounds))
            print("\n".join(table([results[-1].row()])), flush=True)
            if device != "cpu":
                by_layer(spec, results[-1].batch, device)
    print("\n" + "\n".join(table([result.row() for result in results])))
    return conclude(list(bars(results)) if device == "cpu" else [])


def by_layer(spec: str, batch: int, device: str) -> None:
    """What every layer takes beside the card's floor, as ``alexdsl bench`` prints it."""
    command = [sys.executable, "-m", "alexdsl.cli", "bench", spec, "--device", device]
    sets = ["--set", f"data.classes={classes(spec)}", "--set", f"data.batch={batch}"]
    subprocess.run([*command, *sets], check=True)


if __name__ == "__main__":
    sys.exit(main())
