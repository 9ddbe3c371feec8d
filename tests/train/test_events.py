"""TensorBoard's events: what is handed to tensorboardX, which the tests need not have, and what is said without it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from alexdsl.cli import main
from alexdsl.train import events

RUN = ("run", "specs/lenet5.net", "--set", "data.val=split(1%)", "--set", "solver.validate=2")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The events that go through a stand-in for tensorboardX."""
    found: list[Any] = []

    class Writer:
        def __init__(self, prefix: str, suffix: str) -> None:
            Path(f"{prefix}{suffix}").write_text("")

        def write_event(self, event: Any) -> None:
            found.append(event)

        def flush(self) -> None:
            found.append("flush")

        def close(self) -> None:
            found.append("close")

    whole, writer, proto = (ModuleType(f"tensorboardX{part}") for part in ("", ".event_file_writer", ".proto"))
    session = SimpleNamespace(START="start")
    whole.summary = SimpleNamespace(scalar=lambda tag, value: (tag, value), text=lambda tag, text: (tag, text))
    writer.EventsWriter = Writer
    proto.event_pb2 = SimpleNamespace(Event=SimpleNamespace, SessionLog=type("SessionLog", (), {
        "START": session.START, "__init__": lambda self, status: None,
    }))  # fmt: skip
    for module in (whole, writer, proto):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(events, "installed", lambda: True)
    return found


def test_metrics_become_events(written: list[Any], tmp_path: Path) -> None:
    assert main([*RUN, "--steps", "4", "--tensorboard", "--out", str(tmp_path / "run")]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    scalars = {(e.step, *e.summary) for e in written if not isinstance(e, str) and hasattr(e, "summary")}
    for line in lines:
        for name in ("loss", "top1", "rate"):
            assert name not in line or (line["step"], f"train/{name}", line[name]) in scalars
            assert f"val.{name}" not in line or (line["step"], f"val/{name}", line[f"val.{name}"]) in scalars
    changes = [(line["step"], f"update/{n[7:]}", v) for line in lines for n, v in line.items() if n[:7] == "update."]
    assert len(changes) == 2 * 5  # steps 1 and 2 are looked into, and the net has five layers with weights
    assert scalars.issuperset(changes)
    assert len(scalars) == 4 * 3 + 2 * 2 + len(changes)
    assert written[-1] == "close"


def test_a_run_that_goes_on_voids_what_is_done_anew(written: list[Any], tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    assert main([*RUN, "--steps", "2", "--out", folder]) == 0
    written.clear()
    assert main(["run", "--resume", folder, "--steps", "4"]) == 0
    assert written[0].step == 3
    assert hasattr(written[0], "session_log")
    assert len(list((tmp_path / "run" / "events").iterdir())) == 2


def test_verdicts_are_texts(written: list[Any], tmp_path: Path) -> None:
    assert main([*RUN, "--steps", "1", "--set", "data.mean=none", "--out", str(tmp_path / "run")]) == 0
    texts = [e.summary for e in written if not isinstance(e, str) and e.summary[0] == "health"]
    assert len(texts) == 1
    assert "inputs are not centred" in texts[0][1]


def test_without_tensorboardx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(events, "installed", lambda: False)
    assert main([*RUN, "--steps", "1", "--tensorboard", "--out", str(tmp_path / "run")]) == 2
    assert "pip install 'alexdsl[tensorboard]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*RUN, "--steps", "1", "--out", str(tmp_path / "run")]) == 0
    assert not (tmp_path / "run" / "events").exists()
