"""The formatter on pairs of files: NAME.net as it was written, NAME.formatted as it should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from alexdsl.language import Source, SpecError, parse, unparse
from alexdsl.language.formatter import format_source

HERE = Path(__file__).parent
PAIRS = sorted((HERE / "formatter").glob("*.net"))
SAMPLES = sorted((HERE / "samples").glob("*.net"))


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_pair(path: Path, golden: Callable[[Path, str], None]) -> None:
    source = Source(path.name, path.read_bytes().decode())
    formatted = format_source(source)
    golden(path.with_suffix(".formatted"), formatted)
    assert format_source(Source(path.name, formatted)) == formatted
    assert parse(Source(path.name, formatted)) == parse(source)
    assert formatted.count("#") == source.text.count("#")


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_formatted(path: Path) -> None:
    text = path.read_text()
    assert format_source(Source(path.name, text)) == text


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_print_back(path: Path) -> None:
    file = parse(Source(path.name, path.read_text()))
    text = unparse(file)
    assert parse(Source("printed.net", text)) == file
    assert format_source(Source("printed.net", text)) == text


def test_a_text_that_cannot_be_read_is_not_formatted() -> None:
    with pytest.raises(SpecError):
        format_source(Source("a.net", "conv1 = = conv(3)"))
