"""``alexdsl init``: a commented spec for a folder of images or a prepared set, its classes counted and sizes looked at,
ready to run."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from alexdsl.cli import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from alexdsl.data.sources import Source

LOOKED_AT = 400
"""Images whose sizes are read."""
LISTED = 20
"""Classes that are listed one by one."""
STDOUT = "-"
_TOGETHER = "\0"
"""A space at which no line is broken."""


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """examples:
  alexdsl init pictures                              writes pictures.net, for: alexdsl run pictures.net
  alexdsl init pictures -o first.net
  alexdsl init prepared                              of what alexdsl data prepare wrote
  alexdsl init pictures -o -                         to standard output
"""
    command.add_argument(
        "folder", metavar="DIR", type=Path, help="a folder with one sub-folder of images per class, or a prepared set"
    )
    command.add_argument("-o", metavar="FILE", dest="out", help="the spec's file (default: the folder's name, here)")


@dataclass(frozen=True)
class Seen:
    """A set of images: the setting that reads it, how many images each class has, whether it brings held-out ones, the
    sizes (width, height) of some images, whether all of these are gray, and how many of them could not be read."""

    folder: Path
    source: Literal["folder", "shards"]
    counts: dict[str, int]
    held_out: int
    sizes: Sequence[tuple[int, int]]
    gray: bool
    unreadable: int

    @property
    def images(self) -> int:
        return sum(self.counts.values())

    @property
    def side(self) -> int:
        """The shorter side of the image in the middle."""
        return sorted(min(size) for size in self.sizes)[len(self.sizes) // 2]


def run(args: argparse.Namespace) -> int:
    """Write; see ``arguments``."""
    from alexdsl.data.errors import DataError
    from alexdsl.language import Source
    from alexdsl.language.formatter import format_text
    from alexdsl.spec import from_source

    try:
        seen = look(args.folder)
    except DataError as error:
        raise InputError(str(error)) from error
    if len(seen.counts) < 2:
        raise InputError(f"{args.folder} holds a single class, '{next(iter(seen.counts))}': there is nothing to learn")
    if not seen.sizes:
        raise InputError(f"none of {seen.unreadable} images of {args.folder} can be read")
    name = _name(args.folder)
    text = format_text("\n".join(spec_lines(seen, name)) + "\n")
    from_source(Source(f"{name}.net", text))
    if args.out == STDOUT:
        print(text, end="")
        return 0
    path = Path(args.out or f"{name}.net")
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path} is there already: -o names another file") from None
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    found = f"{seen.images:,} images of {len(seen.counts):,} classes"
    print(f"{path}: {found}; next: alexdsl check {path}, alexdsl run {path}")
    return 0


def look(folder: Path) -> Seen:
    """Count a set's classes and read the sizes of its images, or of some. Raises DataError."""
    from alexdsl.data.shards.index import DESCRIPTION
    from alexdsl.data.shards.source import shard_parts

    return _look_at_set(folder) if (shard_parts(str(folder))[0] / DESCRIPTION).is_file() else _look_at_folder(folder)


def _look_at_set(folder: Path) -> Seen:
    from alexdsl.data.shards.index import Index
    from alexdsl.data.shards.source import ShardSource, shard_parts

    train, held_out = shard_parts(str(folder))
    source, index = ShardSource(train), Index(train)
    others = len(ShardSource(held_out, source.classes)) if held_out else 0
    sizes = list(zip(index.records["width"].tolist(), index.records["height"].tolist(), strict=True))
    gray = all(source.read(int(number)).shape[2] == 1 for number in _chosen(len(source)))
    return Seen(folder, "shards", _counts(source), others, sizes, gray, 0)


def _counts(source: Source) -> dict[str, int]:
    import numpy as np

    counts = np.bincount(source.labels, minlength=len(source.classes))
    return dict(zip(source.classes, counts.tolist(), strict=True))


def _chosen(count: int) -> NDArray[np.int64]:
    """Which of so many images are opened."""
    from alexdsl.data.permutation import permutation

    return permutation(0, 0, count, purpose="init")[:LOOKED_AT]


def _look_at_folder(folder: Path) -> Seen:
    from PIL import Image

    from alexdsl.data.folder import open_folder, parts

    train, held_out = parts(str(folder))
    source = open_folder(train)
    others = len(open_folder(held_out, source.classes)) if held_out else 0
    sizes, gray, unreadable = [], True, 0
    for number in _chosen(len(source)):
        try:
            with Image.open(source.path(int(number))) as image:
                sizes.append(image.size)
                gray = gray and image.mode in ("1", "L", "LA", "I;16")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            unreadable += 1
    return Seen(folder, "folder", _counts(source), others, sizes, gray, unreadable)


def spec_lines(seen: Seen, name: str) -> Iterator[str]:
    """The spec, line by line."""
    yield from _head(seen)
    yield f"net {name}"
    yield ""
    pixels, channels = _pixels(seen.side), 1 if seen.gray else 3
    large = pixels == 227
    yield f"data {name} {{"
    yield f'    source  = {seen.source}("{_quoted(seen.folder)}")'
    if seen.held_out:
        yield f"    # {seen.held_out:,} images to validate on are in its other folder, beside train"
    elif seen.images >= 20:
        part = 10 if seen.images < 20_000 else 5
        yield f"    val     = split({part}%)                    # held out, the same ones in every run"
    if seen.gray:
        yield "    channels = 1                         # all images that were looked at are gray"
    wide = 256 if large else pixels + pixels // 8
    yield f"    resize  = shorter_side({wide})           # the central square, so wide"
    yield f"    crop    = {pixels}                        # of which training sees a part, anywhere in it"
    yield "    augment = [random_crop, mirror]      # take mirror out where left and right matter"
    yield "    scale   = 1 / 64                     # pixels less their mean, about -2 to 2"
    yield f"    batch   = {_batch(seen, large)}"
    yield "}"
    yield ""
    yield from _large(channels) if large else _small(channels, pixels)
    yield "loss = softmax_cross_entropy(scores, label)"
    yield f"report top1(scores){', top5(scores)' if len(seen.counts) > 5 else ''}"
    yield ""
    yield "solver sgd {"
    yield f"    lr = {0.01 if large else 0.05}, momentum = 0.9, decay = 0.0005"
    yield f"    epochs = {30 if seen.images < 20_000 else 60}                          # how often every image is seen"
    yield "    schedule = cosine                    # the rate falls to nothing until the end"
    yield "    bias { decay = 0 }"
    yield "}"


def _head(seen: Seen) -> Iterator[str]:
    """What was seen, as comments."""
    counts = seen.counts
    yield f"# {seen.images:,} images of {len(counts):,} classes in {_plain(str(seen.folder))}."
    yield "# Written by alexdsl init, to be changed: alexdsl check says what follows from a change."
    least, most = min(counts, key=lambda n: counts[n]), max(counts, key=lambda n: counts[n])
    if len(counts) <= LISTED:
        shown = ", ".join(f"{_plain(name)}{_TOGETHER}{count:,}" for name, count in counts.items())
        yield from _wrapped(f"Images by class: {shown}.")
    else:
        yield from _wrapped(
            f"From {counts[least]:,} images ({_plain(least)}) to {counts[most]:,} ({_plain(most)}) a class."
        )
    if counts[most] > 10 * counts[least]:
        yield "# The classes are of very different sizes: a net may do well by top1 and never name the small ones."
    widths, heights = zip(*seen.sizes, strict=True)
    yield (
        f"# Of {len(seen.sizes):,} images looked at: {min(widths)} to {max(widths)} pixels wide, {min(heights)} to "
        f"{max(heights)} high, the shorter side {seen.side} in the middle."
    )
    if seen.unreadable:
        yield f"# {seen.unreadable} more could not be read: training will name them and stop."


def _wrapped(text: str) -> Iterator[str]:
    import textwrap

    lines = textwrap.wrap(text, 110, break_long_words=False)
    return (f"# {line}".replace(_TOGETHER, " ") for line in lines)


def _large(channels: int) -> Iterator[str]:
    yield "# AlexNet in one tower, with a start that learns on small sets (specs/alexnet-1tower.net)."
    yield "default conv { weight = he, bias = 0 }"
    yield "default linear { weight = normal(0.01), bias = 0 }"
    yield ""
    yield f"input image [{channels}, data.crop, data.crop]"
    yield ""
    yield "conv1 = conv(96, kernel=11, stride=4) | relu | lrn | maxpool(3, stride=2)"
    yield "conv2 = conv(256, kernel=5, pad=2) | relu | lrn | maxpool(3, stride=2)"
    yield "conv3 = conv(384, kernel=3, pad=1) | relu"
    yield "conv4 = conv(384, kernel=3, pad=1) | relu"
    yield "conv5 = conv(256, kernel=3, pad=1) | relu | maxpool(3, stride=2)"
    yield "fc6 = linear(4096) | relu | dropout(0.5)"
    yield "fc7 = linear(4096) | relu | dropout(0.5)"
    yield "scores = linear(data.classes)            # data.classes counts the classes of the set"


def _small(channels: int, pixels: int) -> Iterator[str]:
    yield "# Convolutions with batch_norm: a net for small pictures."
    yield "default conv { kernel = 3, pad = 1, weight = he, bias = none }"
    yield ""
    yield f"input image [{channels}, data.crop, data.crop]"
    yield ""
    maps, size = 32, pixels
    number = 1
    while size > 8:
        yield f"conv{number} = conv({maps}) | batch_norm | relu | maxpool(2)"
        number, maps, size = number + 1, 2 * maps, size // 2
    yield f"conv{number} = conv({maps}) | batch_norm | relu"
    yield "scores = global_avgpool | linear(data.classes, weight=normal(0.01))   # data.classes counts the set's"


def _pixels(side: int) -> int:
    """The side of what the net sees, for images with this shorter side."""
    return 32 if side <= 48 else 64 if side <= 160 else 227


def _batch(seen: Seen, large: bool) -> int:
    """Images of a step: some steps an epoch even of a small set."""
    batch = 32 if large else 64
    while batch > 2 and batch * 4 > seen.images:
        batch //= 2
    return batch


def _name(folder: Path) -> str:
    """A folder's name as a spec can say it."""
    name = re.sub(r"[^a-z0-9_]+", "-", folder.resolve().name.lower()).strip("-_")
    return name if re.match(r"[a-z]", name) else f"images-{name}".rstrip("-")


def _quoted(folder: Path) -> str:
    return str(folder).replace("\\", "\\\\").replace('"', '\\"')


def _plain(name: str) -> str:
    """A class's name in a comment."""
    return "".join(c if c.isprintable() else "?" for c in name)
