"""Peak memory of training AlexNet against PyTorch's: ``python -m benchmarks.memory --peers torch``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from benchmarks.bars import Bar, arguments, conclude, cores_argument, peers_argument, table
from benchmarks.train import EAGER, commands
from benchmarks.turns import Peer, some_cores

SPEC = "alexnet"
OF_TORCH = 0.55
"""Most of PyTorch's peak, in the layout in which it takes less."""


def bars(peaks: Mapping[str, int], planned: Mapping[str, int], held: Mapping[str, int]) -> Iterator[Bar]:
    """What is asked of peaks by peer, and of the arenas."""
    torch = [peaks[name] for name in EAGER if name in peaks]
    if torch:
        yield Bar("peak over PyTorch's", peaks["alexdsl"] / min(torch), OF_TORCH, most=True)
    devices = {**planned, **held}
    wrong = sum(abs(held.get(device, 0) - planned.get(device, 0)) for device in devices)
    yield Bar("bytes of arenas that differ from the plan", wrong, 0, most=True)


def main() -> int:
    """Print peaks, ratios and bars; 1 where a bar is missed."""
    parser = arguments(__doc__)
    peers_argument(parser, {"torch": "torch"})
    cores_argument(parser)
    parser.add_argument("--batch", type=int, default=128)
    args = parser.parse_args()
    wanted = [c for c in commands(args.peers, SPEC, args.batch, "cpu", some_cores(args.cores)) if c.module != "machine"]
    # Compiling takes memory too: this one leaves its kernels for the next.
    Peer(wanted[0]).close()
    peaks: dict[str, int] = {}
    facts: dict[str, Mapping[str, Mapping[str, int]]] = {}
    for command in wanted:
        peer = Peer(command)
        for _ in range(args.rounds):
            peer.turn()
        peaks[peer.name], facts[peer.name] = peer.peak(), peer.facts
        peer.close()
    print(f"training AlexNet, batch {args.batch}, {args.cores} cores: the most memory that each process held")
    arenas = facts["alexdsl"]
    rows = [
        {"peer": name, "MB": peak / 1e6, "alexdsl /": peaks["alexdsl"] / peak, "arenas, MB": _arenas(facts[name])}
        for name, peak in peaks.items()
    ]
    print("\n".join(table(rows)))
    return conclude(list(bars(peaks, arenas["planned"], arenas["held"])))


def _arenas(facts: Mapping[str, Mapping[str, int]]) -> float:
    return sum(facts["held"].values()) / 1e6 if "held" in facts else float("nan")


if __name__ == "__main__":
    sys.exit(main())
