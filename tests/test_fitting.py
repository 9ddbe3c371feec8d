"""What fits: the largest batch for the memory of the real devices, whichever logical ones they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from alexdsl.fitting import Plans, _largest, fullest, largest_batch
from alexdsl.registry import backend
from alexdsl.spec import load

ALEXNET = load(Path(__file__).parents[1] / "specs" / "alexnet.net")
PLANS = Plans(ALEXNET, backend("cpu"))
ONE, TWO = {"gpu0": "a", "gpu1": "a"}, {"gpu0": "a", "gpu1": "b"}


@pytest.mark.parametrize("held", [3 * 10**9, 40 * 10**9])
def test_the_largest_batch_fits_and_a_few_more_do_not(held: int) -> None:
    largest = largest_batch(PLANS, ONE, {"a": held})

    def needed(batch: int) -> int:
        return fullest(PLANS, ONE, {"a": held}, batch)[1]

    assert needed(largest) <= 0.9 * held < needed(largest + max(2, largest // 20))


def test_a_net_on_two_devices_is_limited_by_the_fuller_one() -> None:
    each = {name: sum(PLANS.arenas(mode)[name] for mode in ("train", "predict")) for name in TWO}
    assert fullest(PLANS, TWO, {"a": 10**10, "b": 10**9}) == ("b", each["gpu1"])
    assert fullest(PLANS, ONE, {"a": 10**10}) == ("a", sum(each.values()))
    both = largest_batch(PLANS, TWO, {"a": 3 * 10**9, "b": 3 * 10**9})
    assert both > 1.5 * largest_batch(PLANS, ONE, {"a": 3 * 10**9})
    assert largest_batch(PLANS, TWO, {"a": 3 * 10**9, "b": 10**9}) < both


def test_no_batch_fits_into_a_small_memory() -> None:
    assert largest_batch(PLANS, ONE, {"a": 10**8}) == 0


def test_the_largest_batch_where_memory_jumps() -> None:
    assert _largest(lambda batch: batch / 100, 1, 4) == 100
    assert _largest(lambda batch: (batch + 30 * (batch > 8)) / 100, 1, 4) <= 70
    assert _largest(lambda batch: batch / 100, 16, 16) == 96


def test_slices_divide_the_largest_batch() -> None:
    spec = load(Path(__file__).parents[1] / "specs" / "lenet5.net", set={"solver.slices": "4", "data.batch": "64"})
    assert largest_batch(Plans(spec, PLANS.backend), {"device0": "a"}, {"a": 10**8}) % 4 == 0
