"""Prediction speed of AlexNet against its peers: ``python -m benchmarks.infer --peers torch,onnxruntime``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from benchmarks.bars import Bar, arguments, conclude, cores_argument, peers_argument, table
from benchmarks.net import flop, load, shaped
from benchmarks.turns import Command, interleave, running, some_cores

SPEC = "alexnet"
TORCH = ("torch nchw", "torch nhwc")
ONNX = "onnxruntime"
OVER_TORCH, OVER_ONNX, OF_FLOOR = 2.0, 1.3, 0.75
"""At least: times PyTorch's and ONNX Runtime's speed in batches; part of the speed at the floor for one image."""
AGREE = 1e-4
"""Most relative error, by norms, of any two peers' logits."""


@dataclass(frozen=True)
class Result:
    """A batch: seconds by peer, each peer's logits' distance to alexdsl's, and the floor's seconds for one image."""

    batch: int
    seconds: Mapping[str, float]
    errors: Mapping[str, float]
    floor: float = nan

    def over(self, names: Sequence[str]) -> float:
        """alexdsl's speed over the fastest of these; not a number where none was measured."""
        return min((self.seconds[n] for n in names if n in self.seconds), default=nan) / self.seconds["alexdsl"]

    def row(self) -> Mapping[str, object]:
        speeds = {name: self.batch / self.seconds.get(name, nan) for name in ("alexdsl", *TORCH, ONNX)}
        ratios = {"/ torch": self.over(TORCH), "/ onnxruntime": self.over((ONNX,))}
        return {"batch": self.batch, **speeds, **ratios, "of floor": self.floor / self.seconds["alexdsl"]}


def bars(results: Sequence[Result]) -> Iterator[Bar]:
    """What is asked of what was measured."""
    for result in results:
        name = f"batch {result.batch}"
        if result.batch == 1:
            yield Bar(f"{name}, of its floor's speed", result.floor / result.seconds["alexdsl"], OF_FLOOR)
        else:
            for peer, names, bound in (("PyTorch", TORCH, OVER_TORCH), ("ONNX Runtime", (ONNX,), OVER_ONNX)):
                if (ratio := result.over(names)) == ratio:
                    yield Bar(f"{name}, over {peer}", ratio, bound)
        for peer, error in result.errors.items():
            yield Bar(f"{name}, distance of {peer}'s logits", error, AGREE, most=True)


def floor(sgemm: float, reads: float) -> float:
    """Seconds of one image at least, by operations and bytes per second: the weights read once, and the convolutions
    at the rate of products."""
    spec = load(SPEC, 1)
    weights = sum(op.results[0].type.bytes for op in shaped(spec, "predict", "logits")
                  if op.kind == "parameter" and op.results[0].type)  # fmt: skip
    return weights / reads + flop(spec, ("conv",), "predict") / sgemm


def commands(peers: Sequence[str], batch: int, cores: Sequence[int]) -> list[Command]:
    """The processes that take turns."""
    shared = ["--spec", SPEC, "--batch", batch]
    found = [Command("alexdsl", "infer_alexdsl", shared, cores)]
    if "torch" in peers:
        found += [Command(name, "infer_torch", [*shared, "--layout", name.split()[1]], cores) for name in TORCH]
    if "onnxruntime" in peers:
        found.append(Command(ONNX, "infer_onnxruntime", shared, cores))
    if batch == 1:
        found += [Command(what, "machine", [what], cores) for what in ("sgemm", "reads")]
    return found


def measure(peers: Sequence[str], batch: int, cores: Sequence[int], rounds: int) -> Result:
    """Seconds and errors of all peers."""
    with running(commands(peers, batch, cores)) as found:
        seconds = interleave(found, rounds)
        facts = {peer.name: peer.facts for peer in found}
    logits = {name: np.asarray(fact["logits"]) for name, fact in facts.items() if "logits" in fact}
    ours = logits.pop("alexdsl")
    errors = {n: float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)) for n, theirs in logits.items()}
    if batch > 1:
        return Result(batch, seconds, errors)
    rates = [facts[what]["amount"] / seconds[what] for what in ("sgemm", "reads")]
    return Result(batch, seconds, errors, floor(*rates))


def main() -> int:
    """Print speeds, ratios and bars; 1 where a bar is missed."""
    parser = arguments(__doc__)
    peers_argument(parser, {"torch": "torch", "onnxruntime": "onnxruntime"})
    cores_argument(parser)
    parser.add_argument("--batches", default="128,32,1")
    args = parser.parse_args()
    cores = some_cores(args.cores)
    print(f"AlexNet, prediction, images/s on {len(cores)} cores; medians of {args.rounds} rounds, peers taking turns")
    results = []
    for batch in map(int, args.batches.split(",")):
        results.append(measure(args.peers, batch, cores, args.rounds))
        print("\n".join(table([results[-1].row()])), flush=True)
    print("\n" + "\n".join(table([result.row() for result in results])))
    return conclude(list(bars(results)))


if __name__ == "__main__":
    sys.exit(main())
