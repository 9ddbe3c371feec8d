"""Batches of the trainer's own loader; or, without workers, images prepared in this process, the processor's seconds of
which it tells."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from time import process_time

from alexdsl.data.loader import Loader
from alexdsl.data.resolve import resolve
from alexdsl.data.settings import DataSettings, Folder, Mirror, PcaNoise, RandomCrop, ShorterSide
from alexdsl.data.statistics import statistics
from benchmarks.data import CROP, SIDE, peer_arguments
from benchmarks.turns import serve

SETTINGS = DataSettings(
    source=Folder("."),
    resize=ShorterSide(SIDE, square=False),
    crop=CROP,
    augment=(RandomCrop(), Mirror(), PcaNoise(0.1)),
    scale=1 / 64,
)


def main() -> None:
    """Serve so many batches at a time."""
    args = peer_arguments()
    settings = replace(SETTINGS, source=Folder(str(args.folder)), batch=args.batch)
    source = resolve(settings).train
    with Loader(source, settings, statistics(source, settings), 0, workers=args.workers) as loader:
        steps = count()

        def work() -> None:
            for step in (next(steps) for _ in range(args.batches)):
                assert loader.batch(step).images.shape == (args.batch, 3, CROP, CROP)

        work()
        start = process_time()
        work()
        serve(work, cpu=(process_time() - start) / (args.batch * args.batches))


if __name__ == "__main__":
    main()
