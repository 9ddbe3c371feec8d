"""The input pipeline against PyTorch's DataLoader, and beside AlexNet's own speed: ``python -m benchmarks.data``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import pictures
from benchmarks.data_peers import cpu_seconds
from benchmarks.turns import Peer, interleave

SETS = {"prepared, 256 x 256": (256, 256, 1.5), "originals, 375 x 500": (375, 500, 1.1)}
"""Height, width, and the least ratio to PyTorch's images/s."""
SHARE = 0.10
"""The most of a core that prepared data may take at AlexNet's speed."""
BATCH, BATCHES, WORKERS = 128, 16, 2


def main() -> int:
    """Print images/s of both loaders, and the pipeline's share of a core while AlexNet trains; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default="torch", help="torch (DataLoader with 2 workers)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=512, help="files of each kind (default: 512)")
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: args.cores]
    missed = []
    with TemporaryDirectory() as scratch:
        for number, (name, (height, width, bar)) in enumerate(SETS.items()):
            folder = Path(scratch, str(number))
            size = pictures.write(folder, args.images, height, width) / args.images
            print(f"{name}: {args.images} JPEG files of {size / 1000:.0f} kB; medians of {args.rounds} rounds")
            missed += list(compared(folder, args.peers.split(","), args.rounds, cores, bar))
            if number == 0:
                missed += list(beside_training(folder, args.rounds, cores))
    return int(any(missed))


def compared(folder: Path, peers: Sequence[str], rounds: int, cores: Sequence[int], bar: float) -> Iterator[bool]:
    """Prints the loaders' speeds, taking turns; whether the bar is missed."""
    shared = [str(folder), "--batch", str(BATCH), "--batches", str(BATCHES), "--workers", str(WORKERS)]
    running = [Peer(name, "benchmarks.data_peers", [name, *shared], cores) for name in ("alexdsl", *peers)]
    speeds = {name: BATCH * BATCHES / seconds for name, seconds in interleave(running, rounds).items()}
    for peer in running:
        peer.close()
    for name, speed in speeds.items():
        print(f"  {name:<10} {speed:8.0f} images/s", end="")
        if name == "alexdsl":
            print()
            continue
        ratio = speeds["alexdsl"] / speed
        print(f"   alexdsl is {ratio:.2f} times as fast, bar {bar}{'' if ratio >= bar else '  MISSED'}")
        yield ratio < bar


def beside_training(folder: Path, rounds: int, cores: Sequence[int]) -> Iterator[bool]:
    """Prints what share of a core the pipeline takes at AlexNet's speed; whether the bar is missed."""
    peer = Peer("training", "benchmarks.alexdsl_train", ["--batch", str(BATCH)], cores)
    speed = BATCH / interleave([peer], rounds)["training"]
    peer.close()
    seconds = min(cpu_seconds(folder, BATCH) for _ in range(rounds))
    share = seconds * speed
    words = f"  an image takes {1e3 * seconds:.2f} ms of a core; at AlexNet's {speed:.0f} images/s {share:.1%} of it"
    print(f"{words}, bar {SHARE:.0%}{'' if share < SHARE else '  MISSED'}")
    yield share >= SHARE


if __name__ == "__main__":
    sys.exit(main())
