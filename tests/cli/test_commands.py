"""What all commands share: help, exit codes, and a start that imports no compiler."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from alexdsl.cli import COMMANDS, main

SPECS = Path(__file__).parents[2] / "specs"
HEAVY = ("numba", "scipy", "llvmlite", "torch")


def imported(code: str) -> list[str]:
    """Which of the heavy packages a fresh Python has imported after ``code``, written to stderr by it."""
    probe = f"import sys\n{code}\nprint([n for n in {(*HEAVY, 'numpy')!r} if n in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stderr.strip().splitlines()[-1].replace("'", '"'))
    return found


def test_the_command_line_itself_imports_nothing_heavy() -> None:
    assert imported("import alexdsl, alexdsl.cli") == []


@pytest.mark.parametrize(
    "words",
    [
        ["check", str(SPECS / "alexnet.net")],
        ["ir", str(SPECS / "alexnet.net"), "--stage", "program"],
        ["fmt", "--check", str(SPECS / "alexnet.net")],
        ["layers", "conv"],
    ],
)
def test_commands_that_read_import_no_compiler(words: list[str]) -> None:
    assert set(imported(f"from alexdsl.cli import main\nassert main({words!r}) == 0")) <= {"numpy"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: alexdsl {command}")
    assert "examples:" in text
    assert f"\n  alexdsl {command} " in text


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert all(f"\n    {name} " in capsys.readouterr().out for name in list(COMMANDS)[:1])


@pytest.mark.parametrize("words", [["chekc"], ["check"], ["ir", "a.net", "--stage", "nope"], ["fmt"]])
def test_wrong_words_exit_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALEXDSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("IMAGENET", raising=False)
    assert main(["doctor", "--json"]) == 0
    found = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert {"cores", "memory", "processor", "numba", "BLAS", "threading", "kernel cache", "CUDA driver"} <= set(found)
    assert found["ImageNet"]["state"] == "missing"
    assert "IMAGENET=" in found["ImageNet"]["todo"]
    assert str(tmp_path / "cache") in found["kernel cache"]["found"]


def test_doctor_tells_problems(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALEXDSL_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("IMAGENET", str(tmp_path / "nowhere"))
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert {line.split("  ")[1] for line in lines if line.startswith("!!")} == {"kernel cache", "ImageNet"}
    assert any("-> set ALEXDSL_CACHE" in line for line in lines)
