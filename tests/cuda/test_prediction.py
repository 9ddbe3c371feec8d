"""A launch's time on a card follows from its waves, its instructions and its bytes, whichever delays most."""

from __future__ import annotations

from dataclasses import replace

import pytest
from alexdsl_cuda.machine import machine
from alexdsl_cuda.prediction import BUSY, GAP, ISSUED, REACHED, Work, assumptions, estimate, step_seconds

A100, H100 = machine("a100"), machine("h100")
BLOCK = 1e8
"""Multiply-adds of a block."""


def product(blocks: int, share: float = 0.9) -> Work:
    return Work("product", blocks * BLOCK, blocks * BLOCK / share, 1e6, blocks, 256, 2)


def test_one_block_for_every_multiprocessor_runs_at_the_cards_rate() -> None:
    found = estimate(product(108), A100)
    assert found.multiplying == pytest.approx(108 * BLOCK / A100.rate("fp32"))
    assert found.limit == "multiplying"
    assert found.seconds == found.multiplying + GAP


def test_tensor_cores_multiply_at_the_rate_of_their_instruction() -> None:
    halves = replace(product(132), precision="bf16", instructions=0)
    assert estimate(halves, H100).multiplying == pytest.approx(132 * BLOCK / H100.rate("bf16"))


def test_a_block_more_takes_a_wave_more() -> None:
    full, over = (estimate(product(n), A100).multiplying for n in (2 * 108, 2 * 108 + 1))
    assert over == pytest.approx(1.5 * full)


def test_where_all_lanes_multiply_other_instructions_cost_their_slots() -> None:
    """An H100 issues as many instructions as it multiplies; an A100 twice as many."""
    found = estimate(product(132, 0.8), H100)
    assert found.issuing == pytest.approx(132 * BLOCK / 0.8 / (132 * ISSUED * H100.clock))
    assert found.limit == "issuing"
    assert estimate(product(108, 0.8), A100).limit == "multiplying"


def test_few_threads_leave_slots_empty() -> None:
    busy = replace(product(108), threads=BUSY)
    assert estimate(replace(busy, threads=BUSY // 4, resident=1), A100).issuing == pytest.approx(
        4 * estimate(busy, A100).issuing
    )
    # Of two blocks that would fit only one is there.
    few = replace(busy, threads=BUSY // 2)
    assert estimate(few, A100).issuing == pytest.approx(2 * estimate(busy, A100).issuing)


def test_what_moves_much_takes_the_memorys_time() -> None:
    work = Work("move", 0, 1e6, 1e9, 10_000, 256, 8, times=3)
    found = estimate(work, A100)
    assert found.limit == "memory"
    assert found.seconds == pytest.approx(3 * (1e9 / (REACHED * A100.bandwidth) + GAP))
    assert step_seconds([work, product(108)], A100) == pytest.approx(
        found.seconds + estimate(product(108), A100).seconds
    )


def test_small_launches_are_gaps() -> None:
    assert estimate(Work("scalar", 0, 32, 4, 1, 32, 8), H100).limit == "launching"


def test_nothing_is_faster_than_the_cards_floor() -> None:
    for card in (A100, H100):
        for work in (product(1), product(1000, 1.0), Work("move", 0, 1e6, 1e9, 10_000, 256, 8)):
            assert estimate(work, card).seconds > card.floor(work.multiply_adds, work.bytes)


def test_assumptions_name_the_figures() -> None:
    words = assumptions(A100)
    assert "108 multiprocessors at 1.41 GHz" in words
    assert f"{GAP * 1e6:.0f} us between kernels" in words
