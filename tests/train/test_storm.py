"""The storm of kills, in short and in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.storm import storm


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_every_run_goes_on_and_ends_bit_for_bit_the_same(kills: int, tmp_path: Path) -> None:
    assert sum(storm(tmp_path, kills, seed=kills, jobs=2).values()) == kills
