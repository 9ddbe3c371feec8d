"""The input pipeline against PyTorch's, and beside AlexNet's own speed: ``python -m benchmarks.data --peers torch``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import pictures
from benchmarks.bars import Bar, arguments, conclude, cores_argument, peers_argument, table
from benchmarks.train import commands as train_commands
from benchmarks.turns import Command, Peer, measured, some_cores

SIDE, CROP = 256, 227
SETS = {"prepared": (256, 256, 1.5), "originals": (375, 500, 1.1)}
"""Height and width of the files, and the least ratio to PyTorch's images/s."""
SHARE = 0.10
"""The most of a core that prepared data may take at AlexNet's speed."""
BATCH, BATCHES, WORKERS = 128, 16, 2


def peer_arguments() -> argparse.Namespace:
    """What the peers are told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    for name in ("batch", "batches", "workers"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


def commands(peers: Sequence[str], folder: Path, cores: Sequence[int]) -> list[Command]:
    """The loaders of a folder's images."""
    args = ["--folder", folder, "--batch", BATCH, "--batches", BATCHES, "--workers", WORKERS]
    return [Command(name, f"data_{name}", args, cores) for name in ("alexdsl", *peers)]


def alone(folder: Path, cores: Sequence[int]) -> float:
    """The processor's seconds that an image takes where nothing else is done."""
    args = ["--folder", folder, "--batch", BATCH, "--batches", 1, "--workers", 0]
    peer = Peer(Command("alone", "data_alexdsl", args, cores[:1]))
    peer.close()
    return float(peer.facts["cpu"])


def bars(name: str, speeds: Mapping[str, float]) -> Iterator[Bar]:
    """What is asked of images/s by peer."""
    for peer, speed in speeds.items():
        if peer != "alexdsl":
            yield Bar(f"{name}: images/s over {peer}'s", speeds["alexdsl"] / speed, SETS[name][2])


def main() -> int:
    """Print images/s of the loaders, and what the pipeline takes while AlexNet trains; 1 where a bar is missed."""
    parser = arguments(__doc__)
    peers_argument(parser, {"torch": "torch"})
    cores_argument(parser)
    parser.add_argument("--images", type=int, default=512, help="files of each kind (default: 512)")
    args = parser.parse_args()
    cores, asked, rows = some_cores(args.cores), [], []
    with TemporaryDirectory() as scratch:
        for name, (height, width, _) in SETS.items():
            folder = Path(scratch, name)
            size = pictures.write(folder, args.images, height, width) / args.images
            times = measured(commands(args.peers, folder, cores), args.rounds)
            speeds = {peer: BATCH * BATCHES / seconds for peer, seconds in times.items()}
            rows.append({"files": f"{name}, {height} x {width}", "kB": size / 1e3, **speeds})
            asked += list(bars(name, speeds))
        seconds = alone(Path(scratch, "prepared"), cores)
    training = [c for c in train_commands((), "alexnet", BATCH, "cpu", cores) if c.name == "alexdsl"]
    speed = BATCH / measured(training, args.rounds)["alexdsl"]
    asked.append(Bar("part of a core that prepared data take at AlexNet's speed", seconds * speed, SHARE, most=True))
    print(
        f"images/s of batches of {BATCH}, {WORKERS} workers, {args.cores} cores; {args.images} JPEG files of each kind"
    )
    print("\n".join(table(rows)))
    print(f"an image takes {1e3 * seconds:.2f} ms of a core; AlexNet trains {speed:.0f} images/s")
    return conclude(asked)


if __name__ == "__main__":
    sys.exit(main())
