"""What training images look like on average: mean, and the principal components of their colours."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alexdsl.data import cache
from alexdsl.data.errors import DataError
from alexdsl.data.permutation import permutation
from alexdsl.data.resizing import load
from alexdsl.data.settings import DataSettings
from alexdsl.data.sources import Source

Floats = NDArray[np.float64]

MEASURED = 2000
"""How many images are looked at; of a larger set, this many chosen at random."""
_CHUNK = 32


@dataclass(frozen=True)
class Statistics:
    """Measured on training images after resizing, pixel values 0..255, float64.

    ``mean`` is what preparation subtracts: [channels, 1, 1], or [channels, height, width] for the mean image.
    ``eigenvalues`` [channels], largest first, and ``eigenvectors`` [channels, channels], one per column, are those of
    the covariance of the pixels' colours.
    """

    mean: Floats
    eigenvalues: Floats
    eigenvectors: Floats


def statistics(
    source: Source, settings: DataSettings, *, cached: bool = True, progress: Callable[[int, int], None] | None = None
) -> Statistics:
    """The statistics that the settings need; reads no image where they need none. Raises DataError.

    ``progress`` is called with (images read, images to read). Sums are of whole numbers and exact, so neither threads
    nor the order of images shows in the result.
    """
    channels = settings.channels
    wants_mean, wants_colours = (
        isinstance(settings.mean, str) and settings.mean != "none",
        settings.pca_noise is not None,
    )
    if not wants_mean and not wants_colours:
        return _fixed(settings, np.zeros(channels), np.eye(channels))
    chosen = sampled(len(source))
    name = cache.name(source.fingerprint(chosen), settings.resize, channels, settings.mean == "image")
    arrays = cache.read("statistics", name) if cached else None
    if arrays is None or set(arrays) != {"mean", "eigenvalues", "eigenvectors"}:
        arrays = _measure(source, settings, chosen, progress)
        if cached:
            cache.write("statistics", name, arrays)
    if not wants_mean:
        return _fixed(settings, arrays["eigenvalues"], arrays["eigenvectors"])
    return Statistics(arrays["mean"], arrays["eigenvalues"], arrays["eigenvectors"])


def sampled(count: int) -> NDArray[np.int64]:
    """Which of ``count`` images are measured, the same ones every time, in order."""
    if count <= MEASURED:
        return np.arange(count)
    return np.sort(permutation(0, 0, count, np.arange(MEASURED), purpose="data/statistics"))


def _fixed(settings: DataSettings, eigenvalues: Floats, eigenvectors: Floats) -> Statistics:
    value = 0.0 if isinstance(settings.mean, str) else float(settings.mean)
    return Statistics(np.full((settings.channels, 1, 1), value), eigenvalues, eigenvectors)


@dataclass
class _Sums:
    """Exact sums over pixels: of values [c], of products of two channels [c, c]; and over images [h, w, c]."""

    pixels: int
    values: Floats
    products: Floats
    image: NDArray[np.int64] | None


def _measure(
    source: Source, settings: DataSettings, chosen: NDArray[np.int64], progress: Callable[[int, int], None] | None
) -> dict[str, Floats]:
    chunks = [chosen[start : start + _CHUNK] for start in range(0, len(chosen), _CHUNK)]
    whole = settings.mean == "image"
    if whole and settings.resized_size is None and source.size is None:
        raise DataError(
            "data.mean = image needs images of one size; resize = shorter_side(...) or exact([h, w]) gives it"
        )
    total: _Sums | None = None
    with ThreadPoolExecutor(
        min(8, len(os.sched_getaffinity(0)))
    ) as pool:  # Pillow decodes and resizes without the lock
        for done, part in enumerate(pool.map(lambda chunk: _sums(source, settings, chunk, whole), chunks), 1):
            total = part if total is None else _added(total, part)
            if progress is not None:
                progress(min(done * _CHUNK, len(chosen)), len(chosen))
    assert total is not None  # a source has at least one image
    mean = total.values / total.pixels
    eigenvalues, eigenvectors = components(total.products / total.pixels - np.outer(mean, mean))
    shaped = mean[:, None, None] if total.image is None else (total.image / len(chosen)).transpose(2, 0, 1)
    return {"mean": np.ascontiguousarray(shaped), "eigenvalues": eigenvalues, "eigenvectors": eigenvectors}


def _sums(source: Source, settings: DataSettings, chunk: NDArray[np.int64], whole: bool) -> _Sums:
    channels = settings.channels
    total = _Sums(0, np.zeros(channels), np.zeros((channels, channels)), None)
    for i in chunk:
        image = load(source, int(i), settings)
        pixels, values, products = colour_sums(image, channels)
        total.pixels += pixels
        total.values += values
        total.products += products
        if whole:
            total.image = image.astype(np.int64) if total.image is None else total.image + image
    if whole and total.image is not None:
        total.image = np.broadcast_to(total.image, (*total.image.shape[:2], channels))
    return total


def colour_sums(image: NDArray[np.uint8], channels: int) -> tuple[int, Floats, Floats]:
    """Of an image [h, w, 1 or 3]: its pixels, the sums of their values [channels] and of their products of two
    channels [channels, channels]; gray counts in every channel."""
    planes = np.ascontiguousarray(image.reshape(-1, image.shape[2]).T, np.float64)
    # Sums of a set are whole numbers below 2^53, so float64 is exact in any order.
    # einsum, not a matrix product: BLAS would start its own threads in each of ours.
    values, products = planes.sum(axis=1), np.einsum("in,jn->ij", planes, planes)
    return planes.shape[1], np.broadcast_to(values, channels), np.broadcast_to(products, (channels, channels))


def _added(a: _Sums, b: _Sums) -> _Sums:
    image = a.image + b.image if a.image is not None and b.image is not None else None
    return _Sums(a.pixels + b.pixels, a.values + b.values, a.products + b.products, image)


def components(covariance: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues [c], largest first and none negative, and eigenvectors, one per column, largest entry positive."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    # Gray images have one colour axis; what rounding leaves on the others must not tint them.
    eigenvalues = np.where(eigenvalues > 1e-9 * max(float(eigenvalues[0]), 0.0), eigenvalues, 0.0)
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return eigenvalues, np.ascontiguousarray(vectors * np.where(largest < 0, -1.0, 1.0))
