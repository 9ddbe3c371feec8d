"""How weights start: the spread that each rule promises."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from alexdsl.ir.parameters import REQUIRED
from alexdsl.ir.philox import Draws
from alexdsl.ir.protocol import Array
from tests.layers.samples import REGISTRY

SHAPE, FANS = (40, 30, 5, 5), (750, 1000)


def _values(name: str, **given: Any) -> Array:
    rule = REGISTRY.initialisers[name]
    attrs = {p.name: p.type.accept(given[p.name]) if p.name in given else p.default for p in rule.parameters}
    assert REQUIRED not in attrs.values()
    values = rule.values(SHAPE, FANS, attrs, Draws(1, "conv1.weight"))
    assert values.shape == SHAPE
    assert values.dtype == np.float32
    return values


@pytest.mark.parametrize(
    ("name", "given", "mean", "std"),
    [
        ("constant", {"value": 0.25}, 0.25, 0),
        ("normal", {"std": 0.01}, 0, 0.01),
        ("normal", {"std": 2, "mean": 3}, 3, 2),
        ("uniform", {"high": 0.1}, 0, 0.1 / math.sqrt(3)),
        ("uniform", {"high": 3, "low": 1}, 2, 1 / math.sqrt(3)),
        ("xavier", {}, 0, math.sqrt(2 / 1750)),
        ("xavier", {"by": "normal", "fan": "in"}, 0, math.sqrt(1 / 750)),
        ("he", {}, 0, math.sqrt(2 / 750)),
        ("he", {"by": "uniform", "fan": "out"}, 0, math.sqrt(2 / 1000)),
    ],
)
def test_spread(name: str, given: dict[str, Any], mean: float, std: float) -> None:
    values = _values(name, **given).astype(np.float64)
    assert values.mean() == pytest.approx(mean, abs=0.02 * (std or 1e-6))
    assert values.std() == pytest.approx(std, rel=0.02, abs=1e-9)


def test_uniform_stays_inside() -> None:
    values = _values("uniform", high=0.1)
    assert -0.1 <= values.min() < -0.099
    assert 0.099 < values.max() <= 0.1


def test_every_rule_is_tested() -> None:
    assert set(REGISTRY.initialisers) == {"constant", "normal", "uniform", "xavier", "he"}
