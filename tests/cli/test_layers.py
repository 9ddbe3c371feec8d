"""``alexdsl layers``: a page for every kind, whose example is a spec that binds."""

from __future__ import annotations

import pytest

from alexdsl.cli import main
from alexdsl.cli.layers import example, grouped
from alexdsl.language import Source
from alexdsl.registry import registry
from alexdsl.spec import from_source

GROUPS = grouped(registry())
KINDS = [(group, name) for group, kinds in GROUPS.items() for name in kinds]

SPEC = """\
data d {{ source = sample("fashion") }}
input image [8, 13, 13]
x = image | relu
a = x | relu
b = x | tanh
{layer}
scores = linear(10{weight})
{loss}
{report}
{solver}
"""
PARTS = {
    "layer": "", "weight": "", "loss": "loss = softmax_cross_entropy(scores, label)", "report": "report top1(scores)",
    "solver": "solver sgd { lr = 0.1 }",
}  # fmt: skip


def test_the_list_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for group, kinds in GROUPS.items():
        assert group in lines
        for name in kinds:
            assert any(line.startswith((f"  {name} ", f"  {name},")) for line in lines)
    assert any("top1, top5" in line for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(("group", "name"), KINDS)
def test_a_page_for_every_kind(group: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", name]) == 0
    text = capsys.readouterr().out
    for parameter in GROUPS[group][name].parameters:
        assert f"\n  {parameter.name} " in text
    assert example(group, GROUPS[group][name]) in text


@pytest.mark.parametrize(("group", "name"), KINDS)
def test_examples_bind(group: str, name: str) -> None:
    line = example(group, GROUPS[group][name])
    place = {
        "layers": {"layer": line}, "losses": {"loss": line}, "metrics": {"report": line},
        "initialisers": {"weight": f", {line}"}, "schedules": {"solver": f"solver sgd {{ {line} }}"},
        "solvers": {"solver": line},
    }  # fmt: skip
    from_source(Source("example.net", SPEC.format(**{**PARTS, **place[group]})))


def test_another_name_leads_to_the_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "top5"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("topk(k)")
    assert "top5 is topk(k=5)" in text


def test_conv_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "conv"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("conv(maps, kernel, stride=1, pad=0, dilation=1, groups=1, round=none, weight=he,")
    assert "needs its input and weights" in text
    assert "round = floor | ceil" in text


def test_unknown_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "convv"]) == 2
    assert "did you mean 'conv'?" in capsys.readouterr().err
    assert main(["layers", "qqqq"]) == 2
    assert "alexdsl layers lists them all" in capsys.readouterr().err
