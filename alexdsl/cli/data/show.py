"""``alexdsl data show``: a contact sheet of what training really sees, augmented, with labels."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from alexdsl.cli import InputError
from alexdsl.cli.common import load_spec, spec_argument

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from alexdsl.data.resolve import Resolved
    from alexdsl.data.settings import DataSettings
    from alexdsl.data.statistics import Statistics


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """The images of a training step: resized, cropped, mirrored and coloured as the
spec says, by the run's own random numbers. Only the mean is not subtracted, and
the scale is left out.

examples:
  alexdsl data show specs/alexnet.net
  alexdsl data show specs/alexnet.net --step 1000 --count 64 --out seen.png
  alexdsl data show specs/alexnet.net --val          the held-out images, as validation sees them
"""
    spec_argument(command)
    command.add_argument("--out", metavar="FILE", type=Path, default=Path("sheet.png"), help="(default: sheet.png)")
    command.add_argument("--count", metavar="N", type=int, default=32, help="images to show (default: 32)")
    command.add_argument("--step", metavar="N", type=int, default=0, help="the first step to show (default: 0)")
    command.add_argument("--seed", metavar="N", type=int, default=0, help="the run's seed (default: 0)")
    command.add_argument("--val", action="store_true", help="held-out images")


def run(args: argparse.Namespace) -> int:
    """Show; see ``arguments``."""
    from rich.console import Console

    from alexdsl.cli.show import MEASURING, Show
    from alexdsl.data.resolve import resolve
    from alexdsl.data.sheet import contact_sheet
    from alexdsl.data.statistics import statistics

    if not 1 <= args.count <= 1024:
        raise InputError("--count expects a number from 1 to 1,024")
    if args.step < 0:
        raise InputError("--step expects a number of at least 0")
    spec = load_spec(args, args.seed)
    if spec.data is None:
        raise InputError(f"{args.spec} has no data block, so there is nothing to show")
    resolved = resolve(spec.data)
    if resolved.notice:
        print(resolved.notice)
    with Show(Console(stderr=True)).counting(MEASURING) as measuring:
        measured = statistics(resolved.train, spec.data, progress=measuring)
    images, labels = seen(resolved, spec.data, measured, args.seed, args)
    classes = resolved.classes
    contact_sheet(images, [classes[label] for label in labels]).save(args.out, "PNG")
    which = "held-out images" if args.val else f"images of training from step {args.step}"
    print(f"{args.out}: {len(images):,} {which}, {images.shape[3]} x {images.shape[2]} pixels each")
    return 0


def seen(
    resolved: Resolved, settings: DataSettings, measured: Statistics, seed: int, args: argparse.Namespace
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images as training or validation sees them, of values 0..255 up to the colour noise, and their labels.

    Raises DataError."""
    import numpy as np

    from alexdsl.data.loader import Loader

    # With a mean of zero and a scale of one, what is prepared is the picture itself.
    plain = replace(settings, mean=0.0, scale=1.0)
    zero = replace(measured, mean=np.zeros((settings.channels, 1, 1)))
    images: list[NDArray[np.float32]] = []
    labels: list[NDArray[np.int64]] = []
    with Loader(resolved.train, plain, zero, seed, val=resolved.val, workers=0) as loader:
        steps = -(-args.count // settings.batch)
        training = (loader.batch(step) for step in range(args.step, args.step + steps))
        for batch in loader.evaluate_batches() if args.val else training:
            images.append(batch.images.copy())
            labels.append(batch.labels)
            if sum(map(len, images)) >= args.count:
                break
    return np.concatenate(images)[: args.count], np.concatenate(labels)[: args.count]
