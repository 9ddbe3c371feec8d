"""What the tests of runs share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.train.runs import STEPS, finish


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing happens to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    finish(folder)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "val.images" in line] == list(range(4, STEPS + 1, 4))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a run is to be."""
    return tmp_path / "run"
