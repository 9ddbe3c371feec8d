"""Every spec on docs/language.md and README.md is read, every message shown is given, and no kind or setting left out.

Info strings: ``net`` is a whole spec, ``net fragment`` is completed as the page says, ``net error`` too and must be
answered with the lines of the block after it, ``net FILE.net`` is a file that others include.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from alexdsl.data.block import NAMES
from alexdsl.language import Source, SpecError, parse
from alexdsl.language.formatter import format_text
from alexdsl.passes.bind.solver import COMMON
from alexdsl.registry import registry
from alexdsl.spec import load

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
INPUT = "input image [3, 32, 32]\n"
LOSS = "scores = linear(10)\nloss = softmax_cross_entropy(scores)\n"


@dataclass(frozen=True)
class Block:
    """A block of code: its line on its page, its info string, its text."""

    line: int
    info: str
    text: str


def _blocks(page: str) -> list[Block]:
    found = re.finditer(r"^```([^\n]*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [Block(page[: m.start()].count("\n") + 1, m[1], m[2]) for m in found]


BLOCKS = [*_blocks(PAGE), *_blocks(README)]
SPECS = [b for b in BLOCKS if b.info in ("net", "net fragment")]
ERRORS = [(b, after) for b, after in pairwise(BLOCKS) if b.info == "net error"]
FILES = [b for b in BLOCKS if b.info.endswith(".net")]


def _write(block: Block, folder: Path) -> None:
    """Write the block as spec.net, beside the files of the page; a fragment is completed."""
    for file in FILES:
        (folder / file.info.split()[1]).write_text(file.text, encoding="utf-8")
    text = block.text
    if block.info != "net":
        text = text if re.search(r"^input ", text, re.MULTILINE) else INPUT + text
        text = text if re.search(r"^loss +=", text, re.MULTILINE) else text + LOSS
    (folder / "spec.net").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("block", SPECS, ids=lambda b: f"line_{b.line}")
def test_specs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IMAGENET", "CLOTHES"):
        monkeypatch.delenv(name, raising=False)
    _write(block, tmp_path)
    spec = load(tmp_path / "spec.net")
    assert block.info != "net" or not spec.warnings
    assert format_text(block.text) == block.text


@pytest.mark.parametrize("block", FILES, ids=lambda b: f"line_{b.line}")
def test_included_files(block: Block) -> None:
    assert parse(Source(block.info, block.text)).statements
    assert format_text(block.text) == block.text


@pytest.mark.parametrize(("block", "answer"), ERRORS, ids=lambda b: f"line_{b.line}")
def test_errors(block: Block, answer: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer.info == "text"
    _write(block, tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as caught:
        load("spec.net")
    given = [line.strip() for line in str(caught.value).splitlines()]
    shown = [line.strip() for line in answer.text.splitlines()]
    assert [line for line in given if line in shown] == shown
    assert sum(line.startswith("error: ") for line in given) == sum(line.startswith("error: ") for line in shown)


def test_nothing_is_left_out() -> None:
    kinds = registry()
    names = [*kinds.layers, *kinds.solvers, *NAMES, *(p.name for p in COMMON)]
    names += [alias for kind in kinds.layers.values() for alias in kind.aliases]
    assert [name for name in names if f"`{name}`" not in PAGE] == []
    assert [name for name in (*kinds.initialisers, *kinds.schedules) if f"`{name}" not in PAGE] == []
    read = [*SPECS, *FILES, *(block for block, _ in ERRORS)]
    assert [block for block in BLOCKS if block.info.startswith("net") and block not in read] == []
