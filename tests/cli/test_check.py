"""``alexdsl check``: the figures of the 2012 AlexNet, memory that a plan confirms, and mistakes told as mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alexdsl.cli import main
from alexdsl.registry import backend
from alexdsl.spec import load

SPECS = Path(__file__).parents[2] / "specs"
ALEXNET = [str(SPECS / "alexnet.net"), "--set", "data.classes=1000"]
PARAMETERS = {
    "conv1": 34_944, "conv2": 307_456, "conv3": 885_120, "conv4": 663_936, "conv5": 442_624,
    "fc6": 37_752_832, "fc7": 16_781_312, "fc8": 4_097_000,
}  # fmt: skip


@pytest.fixture
def facts(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["check", *ALEXNET, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_alexnet_in_figures(facts: dict[str, Any]) -> None:
    assert {e["name"]: e["parameters"] for e in facts["layers"] if e["parameters"]} == PARAMETERS
    assert facts["parameters"] == 60_965_224
    assert facts["multiply_adds"] == sum(e["multiply_adds"] for e in facts["layers"]) == 724_406_816
    assert facts["name"] == "alexnet"
    assert facts["batch"] == 32
    assert facts["solver"]["epochs"] == 4


def test_alexnet_in_shapes(facts: dict[str, Any]) -> None:
    outputs = {e["name"]: e["output"] for e in facts["layers"]}
    assert outputs["conv1"] == [96, 55, 55]
    assert outputs["conv1.lrn"] == [96, 55, 55]
    assert outputs["conv5.maxpool"] == [256, 6, 6]
    assert outputs["fc8"] == [1000]
    assert {e["kind"] for e in facts["layers"]} == {"conv", "relu", "lrn", "maxpool", "linear", "dropout"}


def test_memory_is_that_of_the_plan(facts: dict[str, Any]) -> None:
    from alexdsl.program import Program

    spec = load(SPECS / "alexnet.net", set={"data.classes": "1000"})
    program = Program(spec, backend("cpu"))
    assert facts["memory"] == program.graph("train").attrs["arenas"]
    assert facts["prediction_memory"] == program.graph("predict").attrs["arenas"]
    assert set(facts["memory"]) == {"gpu0", "gpu1"}


def test_weights_that_steps_share_count_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "shared.net"
    path.write_text(
        "input image [4]\ndef f() { linear(4) }\na = f()\nb = f(share = a)\n"
        "out = linear(3)\nloss = softmax_cross_entropy(out, label)\n"
    )
    assert main(["check", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == 4 * 4 + 4 + 4 * 3 + 3
    assert found["solver"] is None
    assert found["data"] is None


def test_the_table_is_aligned_and_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *ALEXNET]) == 0
    table = capsys.readouterr().out.split("\n\n")[1].splitlines()
    assert len({len(line) for line in table if line[-1].isdigit() and line.count(",") > 1}) == 1
    assert max(map(len, table)) <= 80
    assert "60,965,224" in table[-1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere.net"], "nowhere.net cannot be read"),
        ([*ALEXNET, "--set", "solver.rate=1"], "no such leaf"),
        ([*ALEXNET, "--set", "solver.lr"], "expects LEAF=VALUE"),
        ([*ALEXNET, "--set", "data.crop=224"], "227"),
        ([*ALEXNET, "--backend", "tpu"], "there is no backend 'tpu'"),
    ],
)
def test_mistakes(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *words]) == 2
    shown = capsys.readouterr()
    assert expected in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
