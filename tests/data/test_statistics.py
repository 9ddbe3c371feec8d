"""Mean and colour components against plain NumPy, and what is kept between runs."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alexdsl.data import cache
from alexdsl.data.errors import DataError
from alexdsl.data.folder import FolderSource
from alexdsl.data.resizing import resized
from alexdsl.data.settings import DataSettings, Exact, PcaNoise, Sample, ShorterSide
from alexdsl.data.sources import array_source
from alexdsl.data.statistics import MEASURED, components, sampled, statistics

COLOUR = DataSettings(Sample(), resize=Exact(7, 6), crop=5, augment=(PcaNoise(0.1),), mean="channel")
# Channels that go together, so that the components are not the axes.
_base = np.random.default_rng(0).integers(0, 200, (90, 9, 8, 1))
IMAGES = (_base + np.random.default_rng(1).integers(0, 56, (90, 9, 8, 3)) * [1, 0.5, 0.1]).astype(np.uint8)
SOURCE = array_source(IMAGES, np.zeros(90, int), None, "x")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALEXDSL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "statistics"


def test_against_numpy() -> None:
    got = statistics(SOURCE, COLOUR)
    pixels = np.concatenate([resized(image, COLOUR.resize).reshape(-1, 3) for image in IMAGES]).astype(float)
    np.testing.assert_allclose(got.mean, pixels.mean(axis=0).reshape(3, 1, 1), rtol=1e-12)
    covariance = np.cov(pixels.T, bias=True)
    np.testing.assert_allclose(got.eigenvectors * got.eigenvalues @ got.eigenvectors.T, covariance, rtol=1e-9)
    np.testing.assert_allclose(got.eigenvectors.T @ got.eigenvectors, np.eye(3), atol=1e-12)
    assert (np.diff(got.eigenvalues) < 0).all()


def test_mean_image() -> None:
    got = statistics(SOURCE, replace(COLOUR, mean="image"))
    expected = np.mean([resized(image, COLOUR.resize) for image in IMAGES], axis=0).transpose(2, 0, 1)
    np.testing.assert_allclose(got.mean, expected, rtol=1e-12)
    np.testing.assert_allclose(got.eigenvalues, statistics(SOURCE, COLOUR).eigenvalues, rtol=1e-12)


def test_mean_image_needs_one_size(tmp_path: Path) -> None:
    folder = FolderSource(tmp_path, ["a"], [b"1.png"], np.zeros(1, np.int64))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"")
    for resize in (None, ShorterSide(8, square=False)):
        with pytest.raises(DataError, match=r"data\.mean = image needs images of one size"):
            statistics(folder, replace(COLOUR, resize=resize, mean="image"))


def test_gray_images_in_three_channels() -> None:
    gray = array_source(IMAGES[..., 0], np.zeros(90, int), None, "x")
    got = statistics(gray, replace(COLOUR, mean="image"))
    assert got.mean.shape == (3, 7, 6)
    np.testing.assert_array_equal(got.mean[0], got.mean[2])
    assert got.eigenvalues[1:].tolist() == [0, 0]
    np.testing.assert_allclose(got.eigenvectors[:, 0], 3**-0.5)
    one = statistics(gray, replace(COLOUR, channels=1))
    np.testing.assert_allclose(3 * one.eigenvalues, got.eigenvalues[:1])
    assert one.mean.shape == (1, 1, 1)


def test_constant_images() -> None:
    got = statistics(array_source(np.full((3, 9, 8), 7, np.uint8), np.zeros(3, int), None, "x"), COLOUR)
    assert got.eigenvalues.tolist() == [0, 0, 0]
    assert got.mean.ravel().tolist() == [7, 7, 7]


def test_reads_nothing_where_nothing_is_needed() -> None:
    class Unreadable:
        def __len__(self) -> int:
            raise AssertionError

    for mean, value in (("none", 0.0), (117.5, 117.5)):
        got = statistics(Unreadable(), replace(COLOUR, augment=(), mean=mean))
        assert got.mean.ravel().tolist() == [value] * 3
    assert statistics(SOURCE, replace(COLOUR, mean=3)).mean.ravel().tolist() == [3, 3, 3]
    assert statistics(SOURCE, replace(COLOUR, mean="none")).eigenvalues[0] > 0


def test_large_sets_are_sampled() -> None:
    assert sampled(MEASURED).tolist() == list(range(MEASURED))
    chosen = sampled(1_281_167)
    assert len(set(chosen.tolist())) == MEASURED
    assert (np.diff(chosen) > 0).all()
    assert abs(chosen.mean() / 1_281_167 - 0.5) < 0.03
    np.testing.assert_array_equal(chosen, sampled(1_281_167))


def test_signs_of_components() -> None:
    _, vectors = components(np.cov(np.random.default_rng(2).normal(size=(3, 50))))
    assert all(column[np.abs(column).argmax()] > 0 for column in vectors.T)


def test_progress() -> None:
    heard: list[tuple[int, int]] = []
    statistics(SOURCE, COLOUR, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(32, 90), (64, 90), (90, 90)]


class TestKept:
    def test_between_runs(self, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = statistics(SOURCE, COLOUR)
        assert [file.suffix for file in own_cache.iterdir()] == [".npz"]
        assert stat.S_IMODE(own_cache.stat().st_mode) == 0o700
        assert stat.S_IMODE(own_cache.parent.stat().st_mode) == 0o700
        monkeypatch.setattr("alexdsl.data.statistics._measure", None)
        again = statistics(SOURCE, COLOUR)
        for name in ("mean", "eigenvalues", "eigenvectors"):
            np.testing.assert_array_equal(getattr(again, name), getattr(first, name))

    def test_apart_by_what_they_depend_on(self, own_cache: Path) -> None:
        other = IMAGES.copy()
        other[0, 0, 0, 0] ^= 1
        for settings in (
            COLOUR,
            replace(COLOUR, resize=None),
            replace(COLOUR, mean="image"),
            replace(COLOUR, channels=1),
        ):
            statistics(SOURCE, settings)
        statistics(array_source(other, np.zeros(90, int), None, "x"), COLOUR)
        assert len(list(own_cache.iterdir())) == 5
        statistics(SOURCE, replace(COLOUR, batch=7, crop=2, scale=0.5, augment=(PcaNoise(0.3),)))
        assert len(list(own_cache.iterdir())) == 5

    @pytest.mark.parametrize("damage", [b"", b"PK\3\4 no archive"])
    def test_damaged(self, own_cache: Path, damage: bytes) -> None:
        first = statistics(SOURCE, COLOUR)
        next(own_cache.iterdir()).write_bytes(damage)
        np.testing.assert_array_equal(statistics(SOURCE, COLOUR).mean, first.mean)

    def test_incomplete(self, own_cache: Path) -> None:
        statistics(SOURCE, COLOUR)
        name = next(own_cache.iterdir()).stem
        cache.write("statistics", name, {"mean": np.zeros(3)})
        assert statistics(SOURCE, COLOUR).mean.shape == (3, 1, 1)

    def test_not_where_it_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("ALEXDSL_CACHE", str(tmp_path / "file"))
        assert statistics(SOURCE, COLOUR).mean.shape == (3, 1, 1)

    def test_not_if_not_wanted(self, own_cache: Path) -> None:
        statistics(SOURCE, COLOUR, cached=False)
        assert not own_cache.exists()

    def test_folder_of_the_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ALEXDSL_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", "/x")
        assert cache.root() == Path("/x/alexdsl")
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert cache.root() == Path(os.path.expanduser("~/.cache/alexdsl"))
