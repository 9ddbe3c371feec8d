"""What all tests share: golden files, which --update-golden writes anew; examples that may take their time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

# An example's time says how busy the machine is, not whether the example is right.
hypothesis.settings.register_profile("alexdsl", deadline=None)
hypothesis.settings.load_profile("alexdsl")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compares a text with a file's, or writes it there when asked to."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: run pytest --update-golden, and read what it writes"
        assert text == path.read_text(encoding="utf-8")

    return compare
