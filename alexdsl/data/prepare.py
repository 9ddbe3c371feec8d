"""From an image's bytes to what the net sees: crop, mirror, mean subtraction, colour noise, float32 [c, h, w]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from alexdsl.data.errors import DataError
from alexdsl.data.jitter import jittered
from alexdsl.data.resizing import image_shape, load, scaled
from alexdsl.data.settings import DataSettings, Mirror, RandomCrop
from alexdsl.data.sources import Source
from alexdsl.data.statistics import Statistics
from alexdsl.ir.philox import Words, as_integers, as_normals, as_uniforms, key, words

Bytes = NDArray[np.uint8]
Images = NDArray[np.float32]

TEN = 10
"""The views of ten-crop evaluation: centre, four corners, then the same mirrored."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A run of images of one batch: which of the source, for which step, from which place of the global batch."""

    phase: Literal["train", "val"]
    step: int
    first: int
    items: NDArray[np.int64]
    """Image numbers; when evaluating with several views, image * views + view."""
    views: int = 1


@dataclass(frozen=True, slots=True)
class Look:
    """How one image is looked at: the crop's top left corner, whether mirrored, the colour shift of each channel; its
    height and width where it is then scaled, and factors of brightness, contrast and saturation."""

    top: int
    left: int
    mirrored: bool
    shift: NDArray[np.float32]
    size: tuple[int, int] | None = None
    factors: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The random numbers of a slice; a crop's corner still needs the image's size."""

    corners: Words
    mirrored: NDArray[np.bool_]
    shifts: NDArray[np.float32]
    scales: NDArray[np.float64] | None
    factors: NDArray[np.float32] | None


class Preparer:
    """Prepares images of the training and held-out sources; picklable, and the same in every process.

    Order: resize, crop (and scale the crop), jitter, subtract the mean (of the same place, for a mean image), mirror,
    add the colour noise, multiply by ``scale``. Random numbers have the purposes ``data/crop`` (element 0: top, 1:
    left), ``data/mirror`` (element 0), ``data/pca`` (element i: component i), ``data/scale`` (element 0) and
    ``data/jitter`` (brightness, contrast, saturation), at (step, index in the global batch).
    """

    def __init__(
        self, train: Source, val: Source | None, settings: DataSettings, statistics: Statistics, seed: int
    ) -> None:
        self.train, self.val, self.settings = train, val, settings
        self.shape = image_shape(settings, train)
        self._keys = {purpose: key(seed, f"data/{purpose}") for purpose in ("crop", "mirror", "pca", "scale", "jitter")}
        self._mean = statistics.mean.astype(np.float32)
        self._mean_image = self._mean if statistics.mean.shape[1:] != (1, 1) else None
        noise = settings.pca_noise
        self._deviations = np.zeros((settings.channels, settings.channels))
        if noise is not None:
            spread = np.sqrt(statistics.eigenvalues) if noise.by == "stdev" else statistics.eigenvalues / 255.0
            self._deviations = statistics.eigenvectors * (noise.stdev * spread)

    def fill(self, part: Slice, out: Images, begin: Callable[[int], None] | None = None) -> None:
        """Prepare a slice into ``out``, float32 [len(part.items), c, h, w]; ``begin`` hears of each image.

        Raises DataError.
        """
        source = self.train if part.phase == "train" else self.val
        assert source is not None
        drawn = self._draw(part) if part.phase == "train" else None
        loaded, image = -1, np.empty((0, 0, 0), np.uint8)
        for row, item in enumerate(part.items):
            number, view = divmod(int(item), part.views)
            if begin is not None:
                begin(number)
            if number != loaded:  # views of one image follow each other
                loaded, image = number, self._load(source, number)
            look = self._fixed_look(image, view) if drawn is None else self._drawn_look(image, drawn, row)
            self.look_at(image, look, out[row])

    def _load(self, source: Source, number: int) -> Bytes:
        image = load(source, number, self.settings)
        due = self.shape[1:] if self.settings.crop is None else image.shape[:2]
        due = due if self._mean_image is None else self._mean_image.shape[1:]
        if image.shape[:2] != due:
            found, due_text = (f"{height} x {width}" for height, width in (image.shape[:2], due))
            raise DataError(
                f"{source.name(number)} is {found} where {due_text} is due; data.resize = exact([h, w]) mends it"
            )
        return image

    def look_at(self, image: Bytes, look: Look, out: Images) -> None:
        """One prepared view of a resized image [h, w, 1 or 3], into float32 [c, h, w]."""
        channels, height, width = self.shape
        across = look.size or (height, width)
        place = slice(look.top, look.top + across[0]), slice(look.left, look.left + across[1])
        cropped = scaled(image[place], height, width)
        pixels: Bytes | Images = cropped if look.factors is None else jittered(cropped, look.factors)
        flip = slice(None, None, -1 if look.mirrored else 1)
        if self._mean_image is not None:
            np.subtract(
                pixels.transpose(2, 0, 1)[..., flip], self._mean_image[(slice(None), *place)][..., flip], out=out
            )
            if look.shift.any():
                out += look.shift[:, None, None]
        else:
            shift = look.shift - self._mean[:, 0, 0]
            for channel in range(channels):  # a gray image is the same in every channel
                np.add(pixels[:, flip, channel % pixels.shape[2]], shift[channel], out=out[channel])
        if self.settings.scale != 1:
            out *= np.float32(self.settings.scale)

    def _draw(self, part: Slice) -> _Drawn:
        places = np.arange(part.first, part.first + len(part.items))
        corners = words(self._keys["crop"], 2, indices=places, step=part.step)
        halves = words(self._keys["mirror"], 1, indices=places, step=part.step)[:, 0]
        shifts = np.zeros((len(places), self.settings.channels))
        if self.settings.pca_noise is not None:
            alphas = as_normals(words(self._keys["pca"], 4, indices=places, step=part.step))
            # Sums spelled out: a matrix product may round differently for slices of different lengths.
            for component in range(self.settings.channels):
                shifts += alphas[:, component, None] * self._deviations[:, component]
        scales = factors = None
        scale, jitter = self.settings.random_scale, self.settings.colour_jitter
        if scale is not None:
            drawn = as_uniforms(words(self._keys["scale"], 1, indices=places, step=part.step)[:, 0])
            scales = scale.low + (scale.high - scale.low) * drawn
        if jitter is not None:
            drawn = as_uniforms(words(self._keys["jitter"], 3, indices=places, step=part.step))
            amounts = np.array([jitter.brightness, jitter.contrast, jitter.saturation])
            factors = (1 + amounts * (2 * drawn - 1)).astype(np.float32)
        return _Drawn(corners, halves >= np.uint32(1 << 31), shifts.astype(np.float32), scales, factors)

    def _drawn_look(self, image: Bytes, drawn: _Drawn, row: int) -> Look:
        _, height, width = self.shape
        size = None
        if drawn.scales is not None:
            factor = min(float(drawn.scales[row]), image.shape[0] / height, image.shape[1] / width)
            size = max(1, round(height * factor)), max(1, round(width * factor))
            height, width = size
        room = np.array([image.shape[0] - height, image.shape[1] - width])
        top, left = as_integers(drawn.corners[row], room + 1) if self.settings.has(RandomCrop) else room // 2
        mirrored = self.settings.has(Mirror) and bool(drawn.mirrored[row])
        factors = None if drawn.factors is None else drawn.factors[row]
        return Look(int(top), int(left), mirrored, drawn.shifts[row], size, factors)

    def _fixed_look(self, image: Bytes, view: int) -> Look:
        channels, height, width = self.shape
        bottom, right = image.shape[0] - height, image.shape[1] - width
        corners = ((bottom // 2, right // 2), (0, 0), (0, right), (bottom, 0), (bottom, right))
        top, left = corners[view % len(corners)]
        return Look(top, left, view >= len(corners), np.zeros(channels, np.float32))
