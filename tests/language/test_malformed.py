"""Every malformed spec is answered with the text beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from alexdsl.language import Source, SpecError, parse

CASES = sorted((Path(__file__).parent / "malformed").glob("*.net"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_malformed(path: Path, golden: Callable[[Path, str], None]) -> None:
    source = Source(path.name, path.read_bytes().decode())
    with pytest.raises(SpecError) as caught:
        parse(source)
    assert all(diagnostic.span is not None for diagnostic in caught.value.diagnostics)
    golden(path.with_suffix(".txt"), f"{caught.value}\n")
