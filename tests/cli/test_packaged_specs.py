"""Specs that come with alexdsl are found by name wherever a command is typed; a file that is there goes first."""

from __future__ import annotations

from pathlib import Path

import pytest

from alexdsl.cli import main


@pytest.mark.parametrize("name", ["lenet5", "lenet5.net", "specs/lenet5.net"])
def test_a_packaged_spec_by_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", name]) == 0
    assert capsys.readouterr().out.startswith("lenet5")


def test_a_spec_of_the_experiments_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", "specs/experiments/four-layer-lrn.net"]) == 0
    assert capsys.readouterr().out.startswith("four-layer-lrn")


def test_a_file_goes_before_a_packaged_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lenet5.net").write_text("net mine\ninput image [4]\na = linear(2)\nloss = softmax_cross_entropy(a, label)\n")
    assert main(["check", "lenet5.net"]) == 0
    assert capsys.readouterr().out.startswith("mine")


@pytest.mark.parametrize("name", ["nosuch", "elsewhere/lenet5.net"])
def test_what_is_not_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", name]) == 2
    assert name in capsys.readouterr().err
