"""How good a net is on held-out images: what it takes each for, per class and in all, and the picture of confusions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from alexdsl.data.loader import Batch
from alexdsl.ir.protocol import Array

MOST = 5
"""Guesses that are kept of each image."""
SIDE = 900
"""Pixels of the picture's longer side at most, names aside, where there are no more classes than that."""


@dataclass(frozen=True)
class Evaluation:
    """Labels [n], and the most likely classes [n, up to 5] with their probabilities, best first."""

    classes: Sequence[str]
    labels: NDArray[np.int64]
    guesses: NDArray[np.int64]
    shares: NDArray[np.float64]

    def hits(self, top: int) -> NDArray[np.bool_]:
        """Whether the label is among an image's first guesses."""
        found: NDArray[np.bool_] = (self.guesses[:, :top] == self.labels[:, None]).any(1)
        return found

    def accuracy(self, top: int) -> tuple[float, float]:
        """The part of the images whose label is among the first guesses, and its standard error."""
        part = float(self.hits(top).mean())
        return part, sqrt(part * (1 - part) / len(self.labels))

    @property
    def confusion(self) -> NDArray[np.int64]:
        """How many images of each class [row] are taken for each [column]."""
        size = len(self.classes)
        counts = np.bincount(self.labels * size + self.guesses[:, 0], minlength=size * size)
        return counts.reshape(size, size).astype(np.int64)


def evaluate(
    batches: Iterable[Batch], views: int, scores: Callable[[Array], Array], classes: Sequence[str],
    seen: Callable[[int], None],
) -> Evaluation:  # fmt: skip
    """Evaluate images that come as so many views, one after the other, whose probabilities are averaged; ``scores`` are
    the net's of a batch, ``seen`` hears how many images are done."""
    labels: list[Array] = []
    guesses: list[Array] = []
    shares: list[Array] = []
    done = 0
    for means, own in _means(batches, views, scores):
        best = np.argsort(-means, axis=1, kind="stable")[:, :MOST]
        guesses.append(best)
        shares.append(np.take_along_axis(means, best, 1))
        labels.append(own)
        done += len(own)
        seen(done)
    return Evaluation(classes, *(np.concatenate(parts) for parts in (labels, guesses, shares)))


def softmax(scores: Array) -> NDArray[np.float64]:
    """The probabilities of every row of scores."""
    exact = np.asarray(scores, np.float64)
    powers = np.exp(exact - exact.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _means(
    batches: Iterable[Batch], views: int, scores: Callable[[Array], Array]
) -> Iterator[tuple[NDArray[np.float64], Array]]:
    """The mean probabilities and labels of images all of whose views were seen; a batch may end amid them."""
    rows: Array | None = None
    labels: Array = np.empty(0, np.int64)
    for batch in batches:
        new = softmax(scores(batch.images))
        rows = new if rows is None else np.concatenate([rows, new])
        labels = np.concatenate([labels, batch.labels])
        whole = len(rows) // views * views
        if whole:
            yield rows[:whole].reshape(whole // views, views, -1).mean(1), labels[:whole:views]
        rows, labels = rows[whole:], labels[whole:]


def confusion_picture(evaluation: Evaluation) -> Image.Image:
    """Classes down, what they are taken for across; the darker, the more of the class. Names where they can be read."""
    counts = evaluation.confusion
    parts = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    cell = max(1, min(40, SIDE // len(counts)))
    # Roots, so that few confusions show too.
    tones = (255 * (1 - np.sqrt(parts))).astype(np.uint8)
    table = Image.fromarray(tones).resize((len(counts) * cell, len(counts) * cell), Image.Resampling.NEAREST)
    if cell < 12:
        return table
    font = ImageFont.load_default()
    margin = 6 + max(int(font.getlength(name)) for name in evaluation.classes)
    picture = Image.new("L", (margin + table.width, margin + table.height), 255)
    lines = ImageDraw.Draw(table)
    for at in range(0, table.width, cell):  # along which the eye finds a class's name
        lines.line([(at, 0), (at, table.height)], 225)
        lines.line([(0, at), (table.width, at)], 225)
    picture.paste(table, (margin, margin))
    across = Image.new("L", (margin, table.width), 255)
    for draw, at in ((ImageDraw.Draw(picture), margin), (ImageDraw.Draw(across), 0)):
        for i, name in enumerate(evaluation.classes):
            draw.text((3, at + i * cell + (cell - 11) // 2), name, 0, font=font)
    # Turned against the clock: lines become columns in their order, and names go upwards.
    picture.paste(across.transpose(Image.Transpose.ROTATE_90), (margin, 0))
    return picture
