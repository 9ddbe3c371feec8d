"""``alexdsl data stats``: what a prepared set or a folder of images is like, in numbers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from alexdsl.cli.common import bytes_text
from alexdsl.cli.data.prepare import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from alexdsl.data.shards.verify import Part
    from alexdsl.data.summary import Summary

ENDS = 3
"""Classes named at each end, by their images."""


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """examples:
  alexdsl data stats prepared        all images, from the index: none is opened
  alexdsl data stats photos          sizes and colours of at most 2,000 images
"""
    command.add_argument("path", metavar="PATH", type=Path, help="a prepared set, or anything that can be prepared")
    command.add_argument("--depth", metavar="N", type=int, help="name classes by the first N folders of a path only")


def run(args: argparse.Namespace) -> int:
    """Print; see ``arguments``."""
    from alexdsl.data.shards.verify import open_parts
    from alexdsl.data.summary import summary

    for part in open_parts(args.path, args.depth):
        _show(args.path / part.name, part, summary(part))
    return 0


def _show(path: Path, part: Part, found: Summary) -> None:
    counts = found.counts
    order = counts.argsort(kind="stable")
    print(f"{path}: {int(counts.sum()):,} images of {len(found.classes):,} classes")
    print(f"  images a class   {_spread(counts)}")
    if len(order) > 1:
        few, many = order[:ENDS], order[::-1][:ENDS]
        for what, chosen in (("fewest", few), ("most", many)):
            print(f"  {what:<15}  {', '.join(f'{found.classes[i]} {counts[i]:,}' for i in chosen)}")
    if found.measured < int(counts.sum()):
        bad = f", {found.unusable:,} others of the sample cannot be used" if found.unusable else ""
        print(f"  the following is of {found.measured:,} of them{bad}")
    print(f"  height           {_spread(found.heights)}")
    print(f"  width            {_spread(found.widths)}")
    print(f"  bytes an image   {_spread(found.sizes)}, {bytes_text(float(found.sizes.sum()))} in all")
    print(f"  mean colour      {_numbers(found.mean)}  (red, green, blue, of 0..255)")
    for value, vector in zip(found.eigenvalues, found.eigenvectors.T, strict=True):
        print(f"  principal        {value:10.2f} along {_numbers(vector, 4)}")
    from alexdsl.data.shards.index import Index

    if isinstance(part.images, Index):
        made = part.images.description
        for what, several in (("skipped", made.skipped), ("odd, handled", made.notes), ("no images", made.ignored)):
            if several:
                print(f"  {what:<15}  {counted(several)}")


def _spread(values: NDArray[np.int64]) -> str:
    import numpy as np

    return f"{int(values.min()):,} to {int(values.max()):,}, median {np.median(values):,.0f}"


def _numbers(values: NDArray[np.float64], digits: int = 2) -> str:
    return " ".join(f"{value:.{digits}f}" for value in values)
