"""What a set is like, in numbers: images of each class, their sizes, their colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alexdsl.data.decoding import decode_bytes
from alexdsl.data.errors import DataError, ImageError
from alexdsl.data.shards.index import Index
from alexdsl.data.shards.listing import Listing
from alexdsl.data.shards.verify import Part
from alexdsl.data.statistics import Floats, colour_sums, components, sampled


@dataclass(frozen=True)
class Summary:
    """``counts``: images of each class; of the images ``measured``, their heights, widths and bytes, and their colours,
    0..255: mean [3], eigenvalues [3] and eigenvectors [3, 3] of the covariance. ``unusable``: could not be measured.
    """

    classes: Sequence[str]
    counts: NDArray[np.int64]
    measured: int
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    sizes: NDArray[np.int64]
    mean: Floats
    eigenvalues: Floats
    eigenvectors: Floats
    unusable: int


def summary(part: Part) -> Summary:
    """Of a prepared set from its index and description; of a listing by decoding at most 2,000 images. Raises
    DataError."""
    if isinstance(part.images, Index):
        records, made = part.images.records, part.images.description
        labels = np.asarray(records["label"])
        if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < len(part.classes):
            raise DataError(f"{part.images.folder}: the index has labels that are none of its classes")
        counts = np.bincount(labels, minlength=len(part.classes))
        heights, widths, sizes = (np.asarray(records[name], np.int64) for name in ("height", "width", "size"))
        colours = (np.array(made.mean), np.array(made.eigenvalues), np.array(made.eigenvectors))
        return Summary(part.classes, counts, len(records), heights, widths, sizes, *colours, 0)
    return _measured(part.images)


def _measured(listing: Listing) -> Summary:
    counts = np.bincount(listing.labels, minlength=len(listing.classes))
    found: list[tuple[int, int, int]] = []
    pixels, values, products = 0, np.zeros(3), np.zeros((3, 3))
    chosen = sampled(len(listing))
    for i in chosen:
        image = listing[int(i)]
        try:
            raw = image.read()
            picture = decode_bytes(raw, image.shown)
        except ImageError:
            continue
        count, value, product = colour_sums(picture, 3)
        pixels, values, products = pixels + count, values + value, products + product
        found.append((picture.shape[0], picture.shape[1], len(raw)))
    if not found:
        raise DataError(f"none of {len(chosen):,} images can be read; alexdsl data verify says why")
    mean = values / pixels
    colours = components(products / pixels - np.outer(mean, mean))
    heights, widths, sizes = np.array(found, np.int64).T
    return Summary(
        listing.classes, counts, len(found), heights, widths, sizes, mean, *colours, len(chosen) - len(found)
    )
