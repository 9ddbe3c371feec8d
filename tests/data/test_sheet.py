"""The contact sheet shows the images of the loader, and nothing but mean and scale is undone."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

import numpy as np
import pytest

from alexdsl.cli.data.show import seen
from alexdsl.data.loader import Loader
from alexdsl.data.resolve import Resolved
from alexdsl.data.settings import DataSettings, Mirror, PcaNoise, RandomCrop, Sample, ShorterSide
from alexdsl.data.sheet import contact_sheet
from alexdsl.data.sources import array_source
from alexdsl.data.statistics import statistics

IMAGES = np.random.default_rng(0).integers(60, 200, (11, 20, 24, 3), np.uint8)
SOURCE = array_source(IMAGES, np.arange(11) % 3, ["a", "b", "c"], "here")
SETTINGS = DataSettings(
    Sample(),
    resize=ShorterSide(18),
    crop=13,
    augment=(RandomCrop(), Mirror(), PcaNoise(0.1)),
    batch=4,
    mean="channel",
    scale=1 / 64,
)


def test_what_training_sees() -> None:
    measured = statistics(SOURCE, SETTINGS, cached=False)
    shown, labels = seen(Resolved(SOURCE, None), SETTINGS, measured, 5, Namespace(count=6, step=3, val=False))
    with Loader(SOURCE, SETTINGS, measured, 5, workers=0) as loader:
        batches = [(batch.images.copy(), batch.labels) for batch in map(loader.batch, (3, 4))]
    trained, classes = (np.concatenate(parts)[:6] for parts in zip(*batches, strict=True))
    np.testing.assert_allclose((shown - measured.mean) / 64, trained, atol=1e-5)
    np.testing.assert_array_equal(labels, classes)


def test_what_validation_sees() -> None:
    settings = replace(SETTINGS, crop=18)
    measured = statistics(SOURCE, settings, cached=False)
    shown, labels = seen(Resolved(SOURCE, SOURCE), settings, measured, 5, Namespace(count=99, step=0, val=True))
    assert shown.shape == (11, 3, 18, 18)
    np.testing.assert_array_equal(labels, SOURCE.labels)


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 16, 16), (1, 200, 20), (3, 1, 400)])
def test_every_picture_has_its_place_and_its_caption(channels: int, height: int, width: int) -> None:
    shades = np.linspace(40, 240, 10)
    images = np.broadcast_to(shades[:, None, None, None], (10, channels, height, width)).astype(np.float32)
    sheet = contact_sheet(images, ["x"] * 10, columns=4)
    pixels = np.asarray(sheet.convert("L"))
    for shade in shades:
        assert (pixels == round(shade)).any()
    bare = np.asarray(contact_sheet(images, [""] * 10, columns=4).convert("L"))
    assert (pixels != bare).any()
    assert (pixels != bare).sum() < (pixels == bare).sum() / 10


def test_long_and_strange_captions_and_values() -> None:
    images = np.full((2, 3, 8, 8), -40, np.float32)
    images[1] = 999
    sheet = np.asarray(contact_sheet(images, ["a very long name of a class " * 9, "名\n\ud800"]))
    assert sheet[10, 10].tolist() == [0, 0, 0]
    assert sheet.shape[1] < 300
