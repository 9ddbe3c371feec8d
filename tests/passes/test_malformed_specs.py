"""Every spec that reads well but means nothing is answered with the text beside it.

A first line ``# --set leaf=value ...`` stands for the command line's overrides.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from alexdsl.data.block import ask_classes, data_problems
from alexdsl.language import SpecError, parse, parse_expression, read_source
from alexdsl.passes.bind import bind
from alexdsl.passes.check import check_shapes
from alexdsl.registry import registry

CASES = sorted((Path(__file__).parent / "malformed").glob("*.net"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_malformed(path: Path, golden: Callable[[Path, str], None]) -> None:
    source = read_source(path, path.name)
    first = source.line_text(1)
    sets = dict(word.split("=", 1) for word in first.split()[2:]) if first.startswith("# --set ") else {}
    overrides = {leaf: parse_expression(text, f"--set {leaf}") for leaf, text in sets.items()}

    def read() -> None:
        bound = bind(parse(source), registry(), path=path, overrides=overrides, ask=ask_classes, check=data_problems)
        check_shapes(bound, registry())

    with pytest.raises(SpecError) as caught:
        read()
    assert all(diagnostic.span is not None for diagnostic in caught.value.diagnostics)
    golden(path.with_suffix(".txt"), f"{caught.value}\n")
