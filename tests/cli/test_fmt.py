"""``alexdsl fmt``: in place, in one step, and never a file with mistakes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from alexdsl.cli import main

SPECS = Path(__file__).parents[2] / "specs"
MESSY = "net   a\ninput x [ 4 ]\nout=linear( 3 )   # three\nloss = softmax_cross_entropy(out,label)\n"


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    path = tmp_path / "a.net"
    path.write_text(MESSY)
    path.chmod(0o640)
    return path


def test_formats_in_place_and_keeps_permissions(messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", str(messy)]) == 0
    assert capsys.readouterr().out == f"formatted {messy}\n"
    assert "input x [4]" in messy.read_text()
    assert messy.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in messy.parent.iterdir()] == ["a.net"]


def test_twice_is_once(messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fmt", str(messy)])
    text, time = messy.read_text(), messy.stat().st_mtime_ns
    assert main(["fmt", str(messy)]) == 0
    assert (messy.read_text(), messy.stat().st_mtime_ns) == (text, time)
    assert capsys.readouterr().out.endswith("nothing to change\n")


def test_a_link_stays_a_link(messy: Path) -> None:
    link = messy.with_name("link.net")
    link.symlink_to(messy.name)
    assert main(["fmt", str(link)]) == 0
    assert link.is_symlink()
    assert "input x [4]" in messy.read_text()


def test_check_names_files_and_changes_none(messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", "--check", str(messy), str(SPECS / "alexnet.net")]) == 1
    assert capsys.readouterr().out == f"{messy} is not formatted\n"
    assert messy.read_text() == MESSY


def test_the_specs_are_formatted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", "--check", *map(str, SPECS.rglob("*.net"))]) == 0


def test_standard_input(monkeypatch: pytest.MonkeyPatch, messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(MESSY.encode())))
    assert main(["fmt", "-"]) == 0
    text = capsys.readouterr().out
    main(["fmt", str(messy)])
    assert text == messy.read_text()


def test_a_file_with_mistakes_is_left_and_the_others_are_formatted(
    messy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = messy.with_name("broken.net")
    broken.write_text("net (\n")
    assert main(["fmt", str(broken), str(messy), str(messy.with_name("none.net"))]) == 2
    shown = capsys.readouterr()
    assert shown.out == f"formatted {messy}\n"
    assert "broken.net:1:5" in shown.err
    assert "none.net cannot be read" in shown.err
    assert broken.read_text() == "net (\n"
