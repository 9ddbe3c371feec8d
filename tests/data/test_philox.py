"""The generator against published vectors, and the numbers made from it against their distributions."""

from __future__ import annotations

import numpy as np
import pytest

from alexdsl.ir.philox import (
    Draws,
    as_integers,
    as_normals,
    as_uniforms,
    dropout_mask,
    dropout_threshold,
    key,
    normals,
    philox,
    uniforms,
    words,
)

ONES = 0xFFFFFFFF
# Random123's file kat_vectors, lines "philox4x32 10": zeros, ones, digits of pi.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key_words", "expected"), KNOWN)
def test_known_answers(counter: tuple[int, ...], key_words: tuple[int, int], expected: tuple[int, ...]) -> None:
    assert tuple(int(word) for word in philox(counter, key_words)) == expected


def test_shapes_and_long_runs_agree_with_single_counters() -> None:
    counters = np.random.default_rng(0).integers(0, 2**32, (3, 5000, 4), np.uint64)
    many = philox(counters, (1, 2))
    assert many.shape == counters.shape
    assert many.dtype == np.uint32
    for place in [(0, 0), (1, 3333), (2, 4999)]:
        np.testing.assert_array_equal(many[place], philox(counters[place], (1, 2)))


def test_words_follow_the_convention() -> None:
    step = 5 * 2**32 + 7
    got = words((3, 4), 11, indices=[9, 130], step=step)
    assert got.shape == (2, 11)
    for row, index in enumerate([9, 130]):
        for element in range(11):
            assert got[row, element] == philox((element // 4, index, 7, 5), (3, 4))[element % 4]


@pytest.mark.parametrize("first", [0, 1, 3, 4, 1001])
def test_words_can_begin_anywhere(first: int) -> None:
    whole = words((3, 4), 40_000, indices=[1, 2], step=1)
    np.testing.assert_array_equal(
        words((3, 4), 100, indices=[1, 2], step=1, first=first), whole[:, first : first + 100]
    )


def test_keys_are_stable_and_differ() -> None:
    assert key(1, "data/crop") == (2190401996, 2809672065)  # b2sum -l 64 of "1/data/crop"
    keys = {key(seed, purpose) for seed in (-1, 0, 1, 2**70) for purpose in ("", "a", "b", "conv1.weight")}
    assert len(keys) == 16


def chi_square(observed: np.ndarray, expected: float) -> float:
    return float(((observed - expected) ** 2 / expected).sum())


def test_uniforms_and_integers_are_even() -> None:
    drawn = words((1, 2), 200_000)[0]
    values = as_uniforms(drawn)
    assert 0 < values.min() < values.max() < 1
    assert chi_square(np.histogram(values, 100, (0, 1))[0], 2000) < 150  # 99 degrees of freedom: 4 in 10,000 exceed it
    whole = as_integers(drawn, 30)
    assert (whole.min(), whole.max()) == (0, 29)
    assert chi_square(np.bincount(whole), 200_000 / 30) < 62


def test_extreme_words() -> None:
    extremes = np.array([0, ONES], np.uint32)
    assert (as_uniforms(extremes) == [2.0**-33, 1 - 2.0**-33]).all()
    assert as_integers(extremes, 7).tolist() == [0, 6]
    assert as_integers(extremes, [1, 2**31]).tolist() == [0, 2**31 - 1]
    pairs = np.array([[a, b] for a in (0, ONES) for b in (0, 2**31 - 1, 2**31, ONES)], np.uint32)
    assert np.isfinite(as_normals(pairs)).all()


def test_normals_are_normal() -> None:
    values = normals(3, "fc6.weight", 1_000_000)
    assert abs(values.mean()) < 0.004
    assert abs(values.std() - 1) < 0.003
    assert abs((values**3).mean()) < 0.02
    assert abs((values**4).mean() - 3) < 0.05
    inside = [(np.abs(values) < bound).mean() for bound in (1, 2, 3)]
    np.testing.assert_allclose(inside, [0.682689, 0.954500, 0.997300], atol=0.002)
    assert abs(np.corrcoef(values[0::2], values[1::2])[0, 1]) < 0.006


def test_normals_match_the_textbook() -> None:
    drawn = words((5, 6), 1000)[0]
    u = as_uniforms(drawn)
    radius, angle = np.sqrt(-2 * np.log(u[0::2])), 2 * np.pi * u[1::2]
    expected = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1).reshape(-1)
    np.testing.assert_allclose(as_normals(drawn), expected, rtol=0, atol=5e-15)


def test_normals_do_not_depend_on_their_neighbours() -> None:
    drawn = words((5, 6), 4, indices=np.arange(300))
    together = as_normals(drawn)
    for start, end in [(0, 1), (7, 8), (100, 117), (299, 300)]:
        np.testing.assert_array_equal(as_normals(drawn[start:end]), together[start:end])


@pytest.mark.parametrize("count", [0, 1, 2, 7, 32768, 32769, 100_001])
def test_longer_draws_begin_with_shorter_ones(count: int) -> None:
    for draw in (normals, uniforms):
        values = draw(1, "w", count)
        assert values.shape == (count,)
        np.testing.assert_array_equal(values, draw(1, "w", 200_000)[:count])
    np.testing.assert_array_equal(Draws(1, "w").normals(count), normals(1, "w", count))


def test_dropout_mask() -> None:
    mask = dropout_mask(1, "fc6.dropout", 3, n=64, elements=1001, p=0.3)
    assert mask.shape == (64, 1001)
    assert abs(mask.mean() - 0.7) < 0.01
    drawn = words(key(1, "fc6.dropout"), 1001, indices=np.arange(64), step=3)
    np.testing.assert_array_equal(mask, drawn.astype(np.float64) >= 0.3 * 2**32)
    part = dropout_mask(1, "fc6.dropout", 3, n=10, elements=1001, p=0.3, first_index=20)
    np.testing.assert_array_equal(part, mask[20:30])
    for other in (dropout_mask(1, "fc6.dropout", 4, 64, 1001, 0.3), dropout_mask(1, "fc7.dropout", 3, 64, 1001, 0.3)):
        assert 0.55 < (mask == other).mean() < 0.61  # 0.7^2 + 0.3^2


def test_dropout_threshold() -> None:
    assert dropout_threshold(0) == 0
    assert dropout_threshold(0.5) == 2**31
    assert dropout_threshold(1 - 2**-53) == ONES
    for bad in (-0.1, 1, 1.5):
        with pytest.raises(ValueError, match="dropout drops"):
            dropout_threshold(bad)
