"""What a spec's `data` block asks for, as plain values; the compiler's binding fills it in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Env:
    """``env("IMAGENET")``: the value of an environment variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Folder:
    """``folder(path, else = otherwise)``: class sub-folders of image files.

    ``otherwise`` is used where the environment variable is unset or there is no folder of that name.
    """

    path: str | Env
    otherwise: SourceSetting | None = None


@dataclass(frozen=True, slots=True)
class Shards:
    """``shards(path, else = otherwise)``: what ``alexdsl data prepare`` wrote; ``otherwise`` as a folder's."""

    path: str | Env
    otherwise: SourceSetting | None = None


@dataclass(frozen=True, slots=True)
class Idx:
    """``idx(images, labels)``: the two files of MNIST's format, plain or gzipped."""

    images: str
    labels: str


@dataclass(frozen=True, slots=True)
class Npz:
    """``npz(path)``: arrays train_images, train_labels and perhaps val_images, val_labels, classes."""

    path: str


@dataclass(frozen=True, slots=True)
class Sample:
    """``sample("fashion")``: images that come with alexdsl."""

    name: str = "fashion"


SourceSetting: TypeAlias = Folder | Shards | Idx | Npz | Sample


@dataclass(frozen=True, slots=True)
class Split:
    """``split(5%)``: hold out this fraction of the training images, the same ones for every seed."""

    fraction: float


@dataclass(frozen=True, slots=True)
class ShorterSide:
    """``shorter_side(256)``: scale the shorter side to ``pixels``, then (as the 2012 paper) keep the central square.

    Without ``square`` the image keeps its proportions and a crop may lie anywhere along the longer side.
    """

    pixels: int
    square: bool = True


@dataclass(frozen=True, slots=True)
class Exact:
    """``exact([height, width])``: scale to this size whatever the proportions."""

    height: int
    width: int


Resize: TypeAlias = ShorterSide | Exact | None


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """``random_crop``: training crops lie anywhere, every position equally likely; without it they are central."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """``mirror``: half of the training images, drawn anew each step, are flipped left to right."""


@dataclass(frozen=True, slots=True)
class PcaNoise:
    """``pca_noise(0.1, by = stdev)``: shift an image's colour along the principal components of the training pixels.

    Component i is scaled by a normal number of standard deviation ``stdev``, times the square root of its eigenvalue
    (``by = "stdev"``: the shift is in standard deviations of the data) or the eigenvalue itself (``"eigenvalue"``, as
    the 2012 paper writes). An eigenvalue depends on the unit of the pixels: there they count from 0 to 1, and the shift
    is then multiplied by 255; with pixels of 0..255 images would drown in it.
    """

    stdev: float = 0.1
    by: Literal["stdev", "eigenvalue"] = "stdev"


@dataclass(frozen=True, slots=True)
class RandomScale:
    """``random_scale(0.7, 1)``: the part of an image that becomes the crop has ``crop`` times such a number of pixels,
    drawn anew each step, every number equally likely; limited to what the image has."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ColourJitter:
    """``colour_jitter(brightness = 0.2)``: factors drawn evenly from 1 - amount to 1 + amount, in this order."""

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0


Augmentation: TypeAlias = RandomCrop | RandomScale | Mirror | ColourJitter | PcaNoise
AUGMENTATIONS = (RandomCrop, RandomScale, Mirror, ColourJitter, PcaNoise)


@dataclass(frozen=True, slots=True)
class DataSettings:
    """A `data` block. Sizes in pixels; values are 0..255 until ``mean`` is subtracted and ``scale`` multiplies them.

    ``val`` is none where the source brings its own held-out images (or there are none). ``crop`` is a side, a
    (height, width), or none for the whole resized image. ``mean`` is "channel", "image", "none" or a number. ``test``
    is how ``predict`` looks at an image; training validates on the centre crop whatever it says.
    """

    source: SourceSetting
    val: Split | SourceSetting | None = None
    resize: Resize = None
    crop: int | tuple[int, int] | None = None
    augment: tuple[Augmentation, ...] = ()
    batch: int = 128
    channels: int = 3
    classes: int | None = None
    mean: Literal["image", "channel", "none"] | float = "channel"
    scale: float = 1.0
    test: Literal["centre_crop", "ten_crop"] = "centre_crop"

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """(height, width) of the crop."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop

    @property
    def resized_size(self) -> tuple[int, int] | None:
        """(height, width) of every image after resizing, or none where images differ."""
        if isinstance(self.resize, Exact):
            return self.resize.height, self.resize.width
        if isinstance(self.resize, ShorterSide) and self.resize.square:
            return self.resize.pixels, self.resize.pixels
        return None

    @property
    def pca_noise(self) -> PcaNoise | None:
        """The colour noise asked for, if any."""
        return next((a for a in self.augment if isinstance(a, PcaNoise)), None)

    @property
    def random_scale(self) -> RandomScale | None:
        """The scales asked for, if any."""
        return next((a for a in self.augment if isinstance(a, RandomScale)), None)

    @property
    def colour_jitter(self) -> ColourJitter | None:
        """The colour jitter asked for, if any."""
        return next((a for a in self.augment if isinstance(a, ColourJitter)), None)

    def has(self, kind: type[RandomCrop] | type[Mirror]) -> bool:
        """Whether this augmentation is asked for."""
        return any(isinstance(a, kind) for a in self.augment)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong whatever the data: (leaf of the block, a sentence) for each mistake."""
        positive = {"batch": (self.batch,), "crop": self.crop_size or (), "resize": _sides(self.resize)}
        for leaf, values in positive.items():
            if any(value < 1 for value in values):
                yield leaf, f"{leaf} must be at least 1"
        if self.channels not in (1, 3):
            yield "channels", f"channels must be 1 (gray) or 3 (red, green, blue), not {self.channels}"
        if self.classes is not None and self.classes < 1:
            yield "classes", "classes must be at least 1"
        if isinstance(self.val, Split) and not 0 < self.val.fraction < 1:
            yield "val", "split takes a fraction between 0 and 1, such as 5%"
        if self.pca_noise is not None and self.pca_noise.stdev < 0:
            yield "augment", "pca_noise takes a standard deviation, which is not negative"
        for kind in AUGMENTATIONS:
            if sum(isinstance(a, kind) for a in self.augment) > 1:
                yield "augment", "augment names the same augmentation twice"
        yield from self._jitter_problems()
        if self.has(RandomCrop) and self.crop is None:
            yield "augment", "random_crop needs the size of the crop: crop = 227"
        if self.test == "ten_crop" and self.crop is None:
            yield "test", "ten_crop needs the size of the crop: crop = 227"
        yield from self._crop_problems()

    def _jitter_problems(self) -> Iterator[tuple[str, str]]:
        scale, jitter = self.random_scale, self.colour_jitter
        if scale is not None:
            if not 0 < scale.low <= scale.high:
                yield "augment", "random_scale takes the least and the largest factor, such as random_scale(0.7, 1)"
            if self.crop is None:
                yield "augment", "random_scale needs the size of the crop: crop = 227"
            if self.mean == "image":
                yield "augment", "random_scale moves pixels, so it needs mean = channel, none or a number, not image"
        amounts = () if jitter is None else (jitter.brightness, jitter.contrast, jitter.saturation)
        if any(not 0 <= amount <= 1 for amount in amounts):
            yield "augment", "colour_jitter takes amounts from 0 to 1"
        if jitter is not None and self.mean == "image":
            yield "augment", "colour_jitter changes the image's own values: it needs mean = channel, none or a number"

    def _crop_problems(self) -> Iterator[tuple[str, str]]:
        sides = _sides(self.resize)
        if self.crop_size is None or not sides:
            return
        # The shorter side may lie along either axis, so a crop must fit both ways into the square of it.
        height, width = (sides[0], sides[0]) if isinstance(self.resize, ShorterSide) else (sides[0], sides[1])
        if self.crop_size[0] > height or self.crop_size[1] > width:
            crop = " x ".join(map(str, self.crop_size))
            yield "crop", f"a crop of {crop} does not fit into images resized to {height} x {width}"


def _sides(resize: Resize) -> tuple[int, ...]:
    if isinstance(resize, Exact):
        return resize.height, resize.width
    return () if resize is None else (resize.pixels,)
