"""The parser's tables are kept between starts, and made again where what was kept cannot be used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from alexdsl.language import Source, grammar, parse

SPEC = Source("a.net", "net a\ninput image [1, 4, 4]\nrelu\n")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALEXDSL_CACHE", str(tmp_path / "cache"))
    _start_again()


def _start_again() -> None:
    grammar._lark.cache_clear()


def _kept(folder: Path) -> Path:
    return folder / "cache" / "grammar" / "net.lark"


def test_the_tables_are_kept_private_and_used(tmp_path: Path) -> None:
    first = parse(SPEC)
    kept = _kept(tmp_path)
    written = kept.stat().st_mtime_ns
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    _start_again()
    assert parse(SPEC) == first
    assert kept.stat().st_mtime_ns == written


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"junk\n" * 99])
def test_damaged_ones_are_made_again(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    first = parse(SPEC)
    kept = _kept(tmp_path)
    damaged = damage(kept.read_bytes())
    kept.write_bytes(damaged)
    _start_again()
    assert parse(SPEC) == first
    assert len(kept.read_bytes()) > len(damaged)


def test_where_nothing_can_be_kept_they_are_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALEXDSL_CACHE", os.fspath(tmp_path / "file" / "cache"))
    assert parse(SPEC).statements
