"""What local response normalisation on CUDA rests on beside its kernels: approximate roots, and how blocks are made."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest
from alexdsl_cuda.lrn.offer import LEAST_THREADS, MOST_THREADS, power, threads_of_block

ROOT, INVERSE_ROOT = 2.0**-23, 2.0**-22.9
"""The largest errors of PTX's ``sqrt.approx.ftz.f32`` and ``rsqrt.approx.ftz.f32``, as parts of their results."""


class _Math:
    exp, log = np.exp, np.log


@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0, 0.6])
@pytest.mark.parametrize("signs", [*product((-1, 1), repeat=2)])
def test_powers_stay_right_where_roots_are_off_as_far_as_a_processor_may_be(
    beta: float, signs: tuple[int, int]
) -> None:
    """The emulator's roots are rounded correctly; a processor's are not. Kernels may be off by 2e-6 in all."""
    s = np.geomspace(1e-6, 1e12, 1000)
    names = {
        "r": (1 + signs[0] * INVERSE_ROOT) / np.sqrt(s), "root": lambda x: np.sqrt(x) * (1 + signs[1] * ROOT),
        "math": _Math, "float32": np.float64,
    }  # fmt: skip
    scalar = power(beta)
    assert list(scalar.args) == ["r"]
    np.testing.assert_allclose(eval(scalar.result, names), s**-beta, rtol=4e-7)


@pytest.mark.parametrize(
    ("parts", "rounds", "pixels"),
    [
        (12, {55: 2, 27: 4}, 28),  # AlexNet's first normalisation, forward: two rounds a row, one of windows
        (32, {27: 2, 13: 4}, 14),
        (12, {55: 1}, 28),  # and backward: two blocks a row, a pixel of theirs idle
        (32, {27: 1}, 9),
        (2, {7: 1}, 7),
        (512, {9: 1}, 1),
    ],
)
def test_blocks_are_whole_pixels_and_leave_few_threads_idle(parts: int, rounds: Mapping[int, int], pixels: int) -> None:
    assert threads_of_block(parts, rounds) == parts * pixels
    assert parts * pixels <= MOST_THREADS
    assert parts * pixels >= min(LEAST_THREADS, parts * max(rounds))
