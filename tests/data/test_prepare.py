"""Resizing, cropping, mirroring and colour noise against their definitions."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexdsl.data.errors import DataError
from alexdsl.data.folder import open_folder
from alexdsl.data.prepare import Preparer, Slice
from alexdsl.data.resizing import resized, shorter_side
from alexdsl.data.settings import (
    ColourJitter,
    DataSettings,
    Exact,
    Mirror,
    PcaNoise,
    RandomCrop,
    RandomScale,
    Sample,
    ShorterSide,
)
from alexdsl.data.sources import ArraySource, array_source
from alexdsl.data.statistics import Statistics
from alexdsl.ir.philox import as_normals, key, words

PLAIN = DataSettings(Sample(), crop=(5, 4), batch=4, mean="none")
RNG = np.random.default_rng(0)


def source_of(images: np.ndarray) -> ArraySource:
    return array_source(images.astype(np.uint8), np.zeros(len(images), int), None, "x")


def stats(channels: int = 3, mean: object = 0.0, eigenvalues: object = None) -> Statistics:
    means = np.broadcast_to(np.asarray(mean, float), (channels, 1, 1)) if np.ndim(mean) < 3 else np.asarray(mean, float)
    values = np.zeros(channels) if eigenvalues is None else np.asarray(eigenvalues, float)
    vectors = np.linalg.qr(np.random.default_rng(1).normal(size=(channels, channels)))[0]
    return Statistics(means, values, vectors)


def prepared(
    images: np.ndarray,
    settings: DataSettings,
    statistics: Statistics | None = None,
    *,
    step: int = 0,
    first: int = 0,
    seed: int = 1,
    phase: str = "train",
    views: int = 1,
) -> np.ndarray:
    source = source_of(images)
    preparer = Preparer(source, source, settings, statistics or stats(settings.channels), seed)
    out = np.full((len(images) * views, *preparer.shape), np.nan, np.float32)
    preparer.fill(Slice(phase, step, first, np.arange(len(images) * views), views), out)
    return out


class TestResize:
    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            ((375, 500), (256, 341)),
            ((500, 375), (341, 256)),
            ((256, 256), (256, 256)),
            ((28, 28), (256, 256)),
            ((1, 7), (256, 1792)),
        ],
    )
    def test_shorter_side(self, size: tuple[int, int], expected: tuple[int, int]) -> None:
        assert shorter_side(*size, 256) == expected

    def test_square_keeps_the_centre(self) -> None:
        wide = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None], (8, 20, 1))
        square = resized(np.ascontiguousarray(wide), ShorterSide(8))
        assert square.shape == (8, 8, 1)
        assert square[0, :, 0].tolist() == list(range(6, 14))
        assert resized(np.ascontiguousarray(wide), ShorterSide(8, square=False)).shape == (8, 20, 1)

    def test_shrinking_averages(self) -> None:
        fine = np.indices((64, 64)).sum(0) % 2 * 255
        grey = resized(fine.astype(np.uint8)[:, :, None], Exact(8, 8))
        np.testing.assert_allclose(grey[2:-2, 2:-2], 127.5, atol=2)

    def test_colours_are_kept_apart(self) -> None:
        image = RNG.integers(0, 256, (9, 7, 3), np.uint8)
        whole = resized(image, Exact(20, 30))
        for channel in range(3):
            np.testing.assert_array_equal(
                whole[:, :, channel : channel + 1], resized(image[:, :, channel : channel + 1], Exact(20, 30))
            )

    def test_large_enough(self) -> None:
        with pytest.raises(DataError, match=r"image 0 of x is 5 x 3 where a crop of 5 x 4 is due"):
            prepared(np.zeros((1, 5, 3, 3)), PLAIN)


class TestChannels:
    def test_gray_fills_three(self) -> None:
        images = RNG.integers(0, 256, (2, 5, 4))
        np.testing.assert_array_equal(prepared(images, PLAIN), np.repeat(images[:, None], 3, axis=1))

    def test_colour_to_gray(self) -> None:
        images = RNG.integers(0, 256, (2, 5, 4, 3))
        got = prepared(images, replace(PLAIN, channels=1))
        np.testing.assert_allclose(got[:, 0], images @ [0.299, 0.587, 0.114], atol=1)

    def test_order_of_axes(self) -> None:
        images = RNG.integers(0, 256, (2, 5, 4, 3))
        np.testing.assert_array_equal(prepared(images, PLAIN), images.transpose(0, 3, 1, 2))


class TestMean:
    def test_channels_and_scale(self) -> None:
        images = RNG.integers(0, 256, (2, 5, 4, 3))
        mean = np.array([100.5, 50, 7]).reshape(3, 1, 1)
        expected = (images.transpose(0, 3, 1, 2) - mean) / 64
        got = prepared(images, replace(PLAIN, mean="channel", scale=1 / 64), stats(mean=mean))
        np.testing.assert_allclose(got, expected, atol=1e-6)

    @pytest.mark.parametrize("gray", [False, True])
    def test_mean_image_follows_crop_and_mirror(self, gray: bool) -> None:
        images = RNG.integers(0, 256, (40, 9, 8) if gray else (40, 9, 8, 3))
        mean = RNG.uniform(0, 255, (3, 9, 8)).astype(np.float32)
        settings = replace(PLAIN, augment=(RandomCrop(), Mirror()))
        raw = prepared(images, settings)
        got = prepared(images, replace(settings, mean="image"), stats(mean=mean))
        # Images of the mean itself, cropped and mirrored likewise, are what is missing.
        same = prepared(np.broadcast_to(np.arange(72).reshape(9, 8), (40, 9, 8)), settings)[:, 0].astype(int)
        np.testing.assert_allclose(raw - got, mean.reshape(3, 72)[:, same].swapaxes(0, 1), atol=1e-4)

    def test_mean_image_of_another_size(self) -> None:
        with pytest.raises(DataError, match="is 9 x 8 where 9 x 9 is due"):
            prepared(np.zeros((1, 9, 8)), replace(PLAIN, mean="image"), stats(mean=np.zeros((3, 9, 9))))

    def test_whole_images_must_have_one_size(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        Image.new("L", (10, 6)).save(tmp_path / "a" / "1.png")
        small, folder = source_of(np.zeros((1, 6, 6))), open_folder(str(tmp_path))
        preparer = Preparer(small, folder, replace(PLAIN, crop=None), stats(), 1)
        with pytest.raises(DataError, match=r"1\.png is 6 x 10 where 6 x 6 is due"):
            preparer.fill(Slice("val", 0, 0, np.arange(1)), np.empty((1, 3, 6, 6), np.float32))


NUMBERED = np.broadcast_to(np.arange(30).reshape(6, 5), (1, 6, 5))  # a pixel's value tells where it was


class TestCrop:
    def test_every_position_is_equally_likely(self) -> None:
        images = np.broadcast_to(NUMBERED, (3000, 6, 5))
        corners = Counter(
            prepared(images, replace(PLAIN, crop=(4, 3), augment=(RandomCrop(),)))[:, 0, 0, 0].astype(int).tolist()
        )
        assert set(corners) == {0, 1, 2, 5, 6, 7, 10, 11, 12}
        assert sum((n - 3000 / 9) ** 2 / (3000 / 9) for n in corners.values()) < 27  # 8 degrees: 1 in 1,400 exceeds it

    def test_central_without_random_crop(self) -> None:
        got = prepared(NUMBERED, replace(PLAIN, crop=3))[0, 0]
        np.testing.assert_array_equal(got, NUMBERED[0, 1:4, 1:4])

    def test_central_when_evaluating(self) -> None:
        settings = replace(PLAIN, crop=3, augment=(RandomCrop(), Mirror(), PcaNoise()))
        got = prepared(np.repeat(NUMBERED, 9, axis=0), settings, stats(eigenvalues=[9, 4, 1]), phase="val")
        assert (got == NUMBERED[0, 1:4, 1:4]).all()

    def test_ten_views(self) -> None:
        got = prepared(np.repeat(NUMBERED, 2, axis=0), replace(PLAIN, crop=(4, 3)), phase="val", views=10)[:, 0]
        assert got.shape == (20, 4, 3)
        np.testing.assert_array_equal(got[:10], got[10:])
        assert got[:5, 0, 0].tolist() == [6, 0, 2, 10, 12]
        np.testing.assert_array_equal(got[5:10], got[:5, :, ::-1])

    def test_ten_views_are_the_papers(self) -> None:
        image = RNG.integers(0, 256, (9, 8, 3), np.uint8)
        mean = RNG.uniform(0, 255, (3, 9, 8)).astype(np.float32)
        flat = image.transpose(2, 0, 1) - mean
        crops = [flat[:, top : top + 4, left : left + 3] for top, left in [(2, 2), (0, 0), (0, 5), (5, 0), (5, 5)]]
        settings = replace(PLAIN, crop=(4, 3), mean="image", augment=(RandomCrop(), Mirror()), test="ten_crop")
        got = prepared(image[None], settings, stats(mean=mean), phase="val", views=10)
        np.testing.assert_array_equal(got, [*crops, *(crop[:, :, ::-1] for crop in crops)])
        assert len(np.unique(got, axis=0)) == 10
        one = prepared(image[None], settings, stats(mean=mean), phase="val")
        np.testing.assert_array_equal(one, crops[:1])


class TestMirror:
    def test_is_the_flip_of_half(self) -> None:
        images = np.broadcast_to(RNG.integers(0, 256, (6, 5, 3)), (2000, 6, 5, 3))
        settings = replace(PLAIN, crop=(6, 5))
        straight = prepared(images, settings)[0]
        mirrored = prepared(images, replace(settings, augment=(Mirror(),)))
        flipped = (mirrored == straight[:, :, ::-1]).all(axis=(1, 2, 3))
        assert (flipped | (mirrored == straight).all(axis=(1, 2, 3))).all()
        assert 0.46 < flipped.mean() < 0.54


class TestNoise:
    SETTINGS = replace(PLAIN, crop=(5, 4), augment=(PcaNoise(0.1),))

    def test_shifts_whole_channels(self) -> None:
        images = RNG.integers(0, 256, (3, 5, 4, 3))
        shift = prepared(images, self.SETTINGS, stats(eigenvalues=[900, 100, 4])) - images.transpose(0, 3, 1, 2)
        np.testing.assert_allclose(shift, np.broadcast_to(shift[:, :, :1, :1], shift.shape), atol=1e-4)
        statistics = stats(eigenvalues=[900, 100, 4])
        alphas = 0.1 * as_normals(words(key(1, "data/pca"), 4, indices=range(3)))[:, :3]
        expected = alphas * np.sqrt(statistics.eigenvalues) @ statistics.eigenvectors.T
        np.testing.assert_allclose(shift[:, :, 0, 0], expected, atol=1e-4)

    @pytest.mark.parametrize(
        ("by", "spread"), [("stdev", np.array([30.0, 10, 2])), ("eigenvalue", np.array([900.0, 100, 4]) / 255)]
    )
    def test_spread_along_each_component(self, by: str, spread: np.ndarray) -> None:
        statistics = stats(eigenvalues=[900, 100, 4])
        settings = replace(self.SETTINGS, crop=1, augment=(PcaNoise(0.1, by),))
        shift = prepared(np.zeros((20_000, 1, 1)), settings, statistics)[:, :, 0, 0].astype(float)
        along = shift @ statistics.eigenvectors
        np.testing.assert_allclose(along.std(axis=0), 0.1 * spread, rtol=0.03)
        np.testing.assert_allclose(along.mean(axis=0), 0, atol=0.003 * spread.max())
        assert abs(np.corrcoef(along.T) - np.eye(3)).max() < 0.03

    def test_one_channel(self) -> None:
        settings = replace(self.SETTINGS, crop=1, channels=1)
        shift = prepared(np.zeros((5000, 1, 1)), settings, stats(1, eigenvalues=[400]))
        assert abs(shift.std() - 2) < 0.1


class TestRandomScale:
    def test_what_becomes_the_crop_has_so_many_pixels(self) -> None:
        # A ramp: how much of it a crop spans is the scale that was drawn.
        ramp = np.broadcast_to(np.arange(240), (1000, 120, 240))
        settings = replace(PLAIN, crop=(60, 60), augment=(RandomCrop(), RandomScale(0.5, 1.5)))
        got = prepared(ramp, settings)[:, 0]
        spans = (got[:, 30, 50] - got[:, 30, 10]) / 40
        assert spans.min() < 0.55
        assert spans.max() > 1.45
        np.testing.assert_allclose(np.quantile(spans, [0.25, 0.5, 0.75]), [0.75, 1, 1.25], atol=0.06)
        assert got.min() <= 5
        assert got.max() >= 234

    def test_no_more_than_the_image_has(self) -> None:
        ramp = np.broadcast_to(np.arange(64), (20, 40, 64))
        got = prepared(ramp, replace(PLAIN, crop=(20, 32), augment=(RandomScale(9, 9),)))[:, 0]
        np.testing.assert_allclose(got[:, 10], np.broadcast_to(np.arange(32) * 2 + 0.5, (20, 32)), atol=1)

    def test_validation_is_not_scaled(self) -> None:
        images = RNG.integers(0, 256, (2, 9, 9, 3))
        settings = replace(PLAIN, crop=(5, 5), augment=(RandomScale(0.2, 0.4), ColourJitter(1, 1, 1)))
        got = prepared(images, settings, phase="val")
        np.testing.assert_array_equal(got, images[:, 2:7, 2:7].transpose(0, 3, 1, 2))


class TestColourJitter:
    IMAGES = np.broadcast_to(RNG.integers(90, 150, (5, 4, 3)), (400, 5, 4, 3))
    FLAT = np.broadcast_to(np.array([100, 120, 140]), (400, 5, 4, 3))

    def test_brightness_multiplies(self) -> None:
        got = prepared(self.IMAGES, replace(PLAIN, augment=(ColourJitter(brightness=0.3),)))
        factors = got / self.IMAGES.transpose(0, 3, 1, 2)
        np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1, :1, :1], got.shape), atol=1e-4)
        assert 0.7 < factors.min() < 0.71
        assert 1.29 < factors.max() < 1.3

    def test_contrast_keeps_the_mean_gray(self) -> None:
        got = prepared(self.IMAGES, replace(PLAIN, augment=(ColourJitter(contrast=0.5),)))
        gray = np.einsum("nchw,c->nhw", got, [0.299, 0.587, 0.114])
        np.testing.assert_allclose(gray.mean((1, 2)), gray.mean(), atol=0.01)
        spread = gray.std((1, 2)) / (self.IMAGES[0] @ [0.299, 0.587, 0.114]).std()
        assert 0.5 < spread.min() < 0.52
        assert 1.48 < spread.max() < 1.5

    def test_saturation_keeps_every_gray(self) -> None:
        got = prepared(self.FLAT, replace(PLAIN, augment=(ColourJitter(saturation=1),)))
        gray = np.einsum("nchw,c->nhw", got, [0.299, 0.587, 0.114])
        np.testing.assert_allclose(gray, gray[0, 0, 0], atol=0.01)
        spans = (got.max(1) - got.min(1))[:, 0, 0]
        assert spans.min() < 2
        assert spans.max() > 78

    def test_values_stay_in_bounds_and_gray_stays_gray(self) -> None:
        got = prepared(RNG.integers(0, 256, (200, 5, 4)), replace(PLAIN, augment=(ColourJitter(1, 1, 1),)))
        assert got.min() >= 0
        assert got.max() <= 255
        np.testing.assert_array_equal(got[:, 0], got[:, 2])


class TestNumbers:
    SETTINGS = replace(
        PLAIN,
        crop=(4, 3),
        augment=(RandomCrop(), RandomScale(0.6, 1.2), Mirror(), ColourJitter(0.2, 0.2, 0.2), PcaNoise(0.1)),
    )

    def test_depend_on_place_and_step_and_seed_only(self) -> None:
        images = np.broadcast_to(NUMBERED, (12, 6, 5))
        statistics = stats(eigenvalues=[900, 100, 4])
        whole = prepared(images, self.SETTINGS, statistics, step=7)
        for start, end in [(0, 5), (5, 6), (6, 12)]:
            part = prepared(images[start:end], self.SETTINGS, statistics, step=7, first=start)
            np.testing.assert_array_equal(part, whole[start:end])
        assert (prepared(images, self.SETTINGS, statistics, step=8) != whole).any(axis=(1, 2, 3)).all()
        assert (prepared(images, self.SETTINGS, statistics, step=7, seed=2) != whole).any(axis=(1, 2, 3)).all()
