"""Training speed of AlexNet against its peers, in one run: ``python -m benchmarks.train --peers torch``."""

from __future__ import annotations

import argparse
import os
import sys

from benchmarks.turns import Peer, interleave

BARS = {32: 2.6, 128: 3.0}
"""At least this many times the best peer's speed, by batch."""


def main() -> int:
    """Print a table of images/s; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default="torch", help="torch (eager, the better of its two layouts)")
    parser.add_argument("--batches", default="32,128")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: args.cores]
    failed = False
    print(f"AlexNet, training, images/s on {len(cores)} cores; medians of {args.rounds} rounds, peers taking turns")
    print(f"{'batch':>6} {'alexdsl':>9} {'torch nchw':>11} {'torch nhwc':>11} {'ratio':>7} {'bar':>5}")
    for batch in map(int, args.batches.split(",")):
        steps = max(1, 64 // batch)
        shared = ["--batch", str(batch), "--steps", str(steps)]
        peers = [Peer("alexdsl", "benchmarks.alexdsl_train", shared, cores)]
        if "torch" in args.peers.split(","):
            peers += [
                Peer(f"torch {layout}", "benchmarks.torch_alexnet", [*shared, "--layout", layout], cores)
                for layout in ("nchw", "nhwc")
            ]
        times = interleave(peers, args.rounds)
        for peer in peers:
            peer.close()
        speed = {name: steps * batch / seconds for name, seconds in times.items()}
        others = [value for name, value in speed.items() if name != "alexdsl"]
        ratio = speed["alexdsl"] / max(others) if others else float("nan")
        bar = BARS.get(batch, 1.0)
        missed = ratio < bar
        failed |= missed
        row = " ".join(f"{speed.get(f'torch {layout}', float('nan')):>11.1f}" for layout in ("nchw", "nhwc"))
        print(
            f"{batch:>6} {speed['alexdsl']:>9.1f} {row} {ratio:>7.2f} {bar:>5.2f}{'  MISSED' if missed else ''}",
            flush=True,
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
