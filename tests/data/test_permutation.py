"""The computed order: one to one, even, different each epoch, the same however it is asked for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from alexdsl.data.permutation import permutation


@pytest.mark.parametrize("n", [*range(1, 40), 256, 257, 8000, 99_991])
def test_is_one_to_one(n: int) -> None:
    np.testing.assert_array_equal(np.sort(permutation(3, 5, n)), np.arange(n))


def test_nothing_of_nothing() -> None:
    assert permutation(1, 0, 0).shape == (0,)
    assert permutation(1, 0, 9, np.empty((2, 0))).shape == (2, 0)


def test_any_positions_in_any_order() -> None:
    whole = permutation(1, 2, 1_281_167, np.arange(4000))
    asked = np.array([[3999, 0], [17, 17]])
    np.testing.assert_array_equal(permutation(1, 2, 1_281_167, asked), whole[asked])


def test_positions_outside_are_refused() -> None:
    for bad in (-1, 10):
        with pytest.raises(ValueError, match=r"0\.\.9"):
            permutation(1, 0, 10, [bad])


def test_seeds_epochs_and_purposes_differ() -> None:
    orders = [permutation(*k, 1000) for k in [(1, 0), (1, 1), (2, 0), (1, 2**40)]] + [
        permutation(1, 0, 1000, purpose="x")
    ]
    for i, a in enumerate(orders):
        for b in orders[:i]:
            assert (a == b).mean() < 0.02


def test_every_place_is_equally_likely() -> None:
    n, epochs = 7, 2000
    counts = np.zeros((n, n))
    for epoch in range(epochs):
        counts[np.arange(n), permutation(3, epoch, n)] += 1
    assert ((counts - epochs / n) ** 2 / (epochs / n)).sum() < 75  # 36 degrees of freedom: 1 in 5,000 exceeds it


def test_every_order_of_four_appears() -> None:
    counts = Counter(tuple(permutation(3, epoch, 4)) for epoch in range(1200))
    assert len(counts) == 24
    assert min(counts.values()) > 20


def test_neighbours_part() -> None:
    order = permutation(1, 0, 10_000)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.04
    assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 0.04
