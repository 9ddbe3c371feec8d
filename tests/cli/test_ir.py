"""``alexdsl ir``: every stage of every mode prints, and parses back."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from alexdsl.cli import main
from alexdsl.cli.ir import STAGES
from alexdsl.ir import protocol
from alexdsl.ir.text import parse_graph, print_graph
from alexdsl.passes.pipeline import PIPELINE

SPECS = Path(__file__).parents[2] / "specs"
ALEXNET, LENET = str(SPECS / "alexnet.net"), str(SPECS / "lenet5.net")


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["ir", *words]) == 0
    return capsys.readouterr().out


def test_all_stages_are_offered() -> None:
    assert tuple(STAGES) == protocol.STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_stages_parse_back(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, ALEXNET, "--stage", stage)
    graph = parse_graph(text)
    assert graph.stage == stage
    assert print_graph(graph) == text


@pytest.mark.parametrize("mode", ["train", "predict", "gradients"])
def test_passes_parse_back(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    for step in PIPELINE:
        if mode in step.modes:
            text = printed(capsys, LENET, "--print-after", step.name, "--mode", mode)
            assert print_graph(parse_graph(text)) == text


def test_all_passes_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, LENET, "--print-after", "all")
    heads = [line.split()[2].rstrip(":") for line in text.splitlines() if line.startswith("# after ")]
    assert heads == ["bind", *(step.name for step in PIPELINE if "train" in step.modes)]
    for part in text.split("# after ")[1:]:
        _, _, graph = part.partition("\n")
        assert not graph or parse_graph(graph).ops


def test_the_default_is_shaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, LENET) == printed(capsys, LENET, "--stage", "shaped")


def test_a_layer_with_its_backward_ops_and_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, ALEXNET, "--stage", "program", "--layer", "conv2")
    ops = [line for line in text.splitlines() if line.startswith(("  %", "  (%"))]
    assert ops
    gathered = [line for line in ops if "# conv2." not in line]
    assert gathered
    assert all(" = sgd(" in line and "%conv2.bias." in line for line in gathered)
    assert "conv_weight_grad(" in text
    launched = {line.split()[1].partition("(")[0] for line in text.splitlines() if line.startswith("    launch ")}
    assert launched == {line.split()[1] for line in text.splitlines() if line.startswith("kernel ")}


def test_one_step_of_a_layer(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, ALEXNET, "--layer", "conv1.lrn")
    assert [line.split()[0] for line in text.splitlines()] == ["%conv1.lrn"]


def test_sources_are_python(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, LENET, "--layer", "c3", "--as", "source")
    assert "launched by %c3." in text
    assert any(isinstance(node, ast.FunctionDef) and node.name == "kernel" for node in ast.walk(ast.parse(text)))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--layer", "c33"], "did you mean 'c3'?"),
        (["--layer", "zzz"], "layers: "),
        (["--mode", "predict", "--stage", "differentiated"], "has no stage 'differentiated'"),
        (["--mode", "predict", "--print-after", "grad"], "does not run in --mode predict"),
        (["--as", "source", "--stage", "shaped"], "--as shows kernels"),
        (["--as", "sass"], "the backend cpu shows kernels as source"),
        (["--as", "source", "--card", "h100"], "cards that the backend cpu knows are none"),
        (["--backend", "cuda", "--as", "sass", "--card", "h10"], "knows are a100, h100"),
        (["--backend", "tpu"], "there is no backend 'tpu'"),
    ],
)
def test_mistakes(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ir", LENET, *words]) == 2
    assert expected in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_failure() -> None:
    command = [sys.executable, "-m", "alexdsl.cli", "ir", ALEXNET, "--stage", "program"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"graph alexnet")
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(30) == 0
    assert errors == b""
