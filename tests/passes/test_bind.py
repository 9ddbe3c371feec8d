"""What each rule of the language makes of a spec: the names, operands and attributes of the parsed graph."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import pytest

from alexdsl.data.block import ask_classes, data_problems
from alexdsl.language import SpecError, parse, parse_expression, read_source
from alexdsl.language.formatter import format_text
from alexdsl.passes.bind import bind
from alexdsl.passes.check import check_shapes
from alexdsl.registry import registry
from tests.passes.binding import END, IMAGE, bound, mistake, ops, steps

SPECS = Path(__file__).parents[2] / "specs"


# --- flow and names


def test_a_chain_names_its_steps_and_weights() -> None:
    found = ops("conv1 = conv(8, kernel=3) | relu | lrn | conv(4, kernel=1) | relu")
    assert list(found)[:9] == [
        "image", "conv1.weight", "conv1.bias", "conv1.conv", "conv1.relu", "conv1.lrn",
        "conv1.conv_2.weight", "conv1.conv_2.bias", "conv1.conv_2",
    ]  # fmt: skip
    assert found["conv1.conv"].operands == ("image", "conv1.weight", "conv1.bias")
    assert found["conv1.conv_2"].operands == ("conv1.lrn", "conv1.conv_2.weight", "conv1.conv_2.bias")
    assert found["conv1.relu_2"].operands == ("conv1.conv_2",)
    assert found["scores.linear"].operands[0] == "conv1.relu_2"


def test_statements_without_a_name_take_free_names_of_their_block() -> None:
    assert steps("relu\ntanh\nrelu | relu\nrelu_3 = sigmoid") == [
        "relu", "tanh", "relu_2", "relu_4", "relu_3.sigmoid",
    ]  # fmt: skip
    found = ops("conv(8, kernel=3)\nconv_2 = conv(8, kernel=3)\nconv(8, kernel=3)")
    assert [name for name in found if name.endswith("weight")][:3] == [
        "conv.weight", "conv_2.weight", "conv_3.weight",
    ]  # fmt: skip


def test_a_statement_continues_from_the_one_above_or_a_named_value() -> None:
    found = ops("a = relu\nconst n = 3\ndef f() { relu }\nb = tanh\nc = a | sigmoid\nd = add(a, c | tanh, image)")
    assert found["b.tanh"].operands == ("a.relu",)
    assert found["c.sigmoid"].operands == ("a.relu",)
    assert found["d.tanh"].operands == ("c.sigmoid",)
    assert found["d.add"].operands == ("a.relu", "d.tanh", "image")


def test_values_join_in_a_chain_and_steps_have_names() -> None:
    found = ops("a = relu | tanh\nb = sigmoid | add(a.relu, image)\nc = a\nd = c | concat(b)\na.tanh")
    assert found["b.add"].operands == ("b.sigmoid", "a.relu", "image")
    assert found["d.concat"].operands == ("a.tanh", "b.add")
    assert found["scores.linear"].operands[0] == "a.tanh"


def test_an_argument_may_be_a_chain_and_belongs_to_its_statement() -> None:
    found = ops("a = relu\nb = conv(8, kernel=1) | add(a | conv(8, kernel=1) | tanh)")
    assert found["b.add"].operands == ("b.conv", "b.tanh")
    assert found["b.conv"].operands[1] == "b.weight"
    assert found["b.conv_2"].operands == ("a.relu", "b.conv_2.weight", "b.conv_2.bias")


def test_words_of_a_parameter_come_before_names() -> None:
    found = ops("const same = 1\na = conv(8, kernel=3, pad=same)\nb = conv(8, kernel=3, pad=same + 0)")
    assert found["a.conv"].attrs["pad"] == "same"
    assert found["b.conv"].attrs["pad"] == (1, 1, 1, 1)


def test_losses_and_metrics_take_labels() -> None:
    graph = bound(
        IMAGE + "fc = linear(3)\nloss = softmax_cross_entropy(fc, label)\nreport top1(fc), top1(fc, label)"
    ).graph
    assert graph.outputs == {
        "loss": "loss.softmax_cross_entropy", "top1": "report.top1.top1", "top1_2": "report.top1_2.top1",
        "logits": "fc.linear",
    }  # fmt: skip
    assert graph.producers["report.top1.top1"].operands == ("fc.linear", "label")
    assert graph.producers["report.top1.top1"].attrs == {"k": 1}


def test_logits_are_what_the_report_scores_with_several_losses() -> None:
    text = IMAGE + "a = linear(3)\nb = linear(3)\n"
    text += "one = a | softmax_cross_entropy\ntwo = b | softmax_cross_entropy\nloss = add(two, scale(one, 0.3))\n"
    assert bound(text).graph.outputs["logits"] == "a.linear"
    assert bound(text + "report top1(b)").graph.outputs["logits"] == "b.linear"


# --- values


def test_units_and_arithmetic() -> None:
    found = ops("const w = 2 * 3 + 4 / 2\na = conv(w, kernel=6 / 2, weight=w / 16) | dropout(25%) | lrn(k=-(-1))")
    assert (found["a.conv"].attrs["maps"], found["a.conv"].attrs["kernel"]) == (8, (3, 3))
    assert found["a.weight"].attrs["init"] == {"kind": "constant", "value": 0.5}
    assert (found["a.dropout"].attrs["p"], found["a.lrn"].attrs["k"]) == (0.25, 1.0)


def test_initialisers_and_no_bias() -> None:
    found = ops("const start = normal(0.1)\na = conv(8, kernel=3, weight=start, bias=none)\nb = linear(3, weight=he)")
    assert found["a.weight"].attrs["init"] == {"kind": "normal", "std": 0.1, "mean": 0.0}
    assert found["a.conv"].operands == ("image", "a.weight")
    assert found["a.conv"].attrs["bias"] is False
    assert found["b.weight"].attrs["init"] == {"kind": "he", "by": "normal", "fan": "in"}


# --- defaults


def test_defaults_hold_for_their_block_and_reach_into_defs() -> None:
    found = ops(
        "def f() { linear(5) }\ndef g() {\n default linear { bias = 3 }\n linear(5) | f\n}\n"
        "a = linear(5)\nb = linear(5, bias=2)\nc = f\nd = g\ndefault linear, conv { bias = 1 }"
    )
    values = {name: op.attrs["init"]["value"] for name, op in found.items() if name.endswith("bias")}
    assert values == {
        "a.bias": 1.0, "b.bias": 2.0, "c.f.linear.bias": 1.0, "d.g.linear.bias": 3.0, "d.g.f.linear.bias": 3.0,
        "scores.bias": 1.0,
    }  # fmt: skip


# --- warnings, includes, limits


def test_unused_values_are_warned_of_once() -> None:
    found = bound(IMAGE + "a = relu\nb = repeat 3 { image | tanh | sigmoid }\na" + END)
    assert [(w.message, w.span and w.span.line) for w in found.warnings] == [
        ("'b.1.sigmoid' reaches no loss or report, and is left out", 3)
    ]
    assert not bound(IMAGE + "a = relu" + END).warnings


def test_includes_are_spliced(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "defs.net").write_text('language 1\ninclude "more.net"\ndef f() { g | relu }\n')
    (tmp_path / "parts" / "more.net").write_text("def g() { tanh }\n")
    main = tmp_path / "main.net"
    main.write_text('include "parts/defs.net"\n' + IMAGE + "a = f" + END)
    found = bind(parse(read_source(main)), registry(), path=main)
    assert [op.name for op in found.graph if op.layer.startswith("a")] == ["a.f.g.tanh", "a.f.relu"]
    assert found.graph.name == "main"


def test_one_mistake_one_message() -> None:
    assert (
        mistake(IMAGE + "a = conv(8, kernl=3) | relu\nb = a | linear(3)\nc = add(a.relu, b)" + END)
        == "conv has no 'kernl'"
    )
    assert (
        mistake(IMAGE + "const n = 1 / 0\na = linear(n)\nb = repeat n { a }\ngroup t(n) { relu }" + END)
        == "division by zero"
    )
    text = (
        IMAGE
        + "a = convv(8)\nplace a on g0\nplace all on g1"
        + END
        + "solver sgd { a { lr = 0 }\n a..scores { lr = 1 } }"
    )
    assert mistake(text) == "unknown layer kind 'convv'"
    assert mistake(IMAGE + "default conv { kernel = 1.5 }\na = conv(3)\nb = conv(3)" + END).startswith("kernel of conv")


@pytest.mark.parametrize("data", ["", 'data d { source = sample("fashion") }\n'])
def test_an_input_that_is_no_field_of_the_data(data: str) -> None:
    assert mistake(data + "input picture [3]\na = relu" + END) == "the data has no field 'picture'"


def test_many_steps_are_bound_quickly() -> None:
    graph = bound(IMAGE + "a = " + " | ".join(["dropout"] * 20_000) + "\n" + "relu\n" * 20_000 + END).graph
    assert "a.dropout_20000" in graph.producers
    assert "relu_20000" in graph.producers


def test_layers_without_use_are_checked_but_left_out() -> None:
    made = bound(IMAGE + "a = relu\nb = image | conv(8, kernel=3)\na" + END)
    assert "b.conv" not in check_shapes(made, registry()).producers
    with pytest.raises(SpecError, match="does not fit"):
        check_shapes(bound(IMAGE + "a = relu\nb = image | conv(8, kernel=33)\na" + END), registry())


# --- the specs that come along


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("alexnet", 60_965_224),
        ("alexnet-1tower", 62_378_344),
        ("caffenet", 60_965_224),
        ("vgg-a", 132_863_336),
        ("resnet-18", 11_689_512),
        ("lenet5", None),
        ("cifar-quick", None),
    ],
)
def test_specs(name: str, count: int | None) -> None:
    path = SPECS / f"{name}.net"
    source = read_source(path)
    sets: dict[str, Any] = {"data.classes": parse_expression("1000")} if count else {}
    made = bind(parse(source), registry(), path=path, overrides=sets, ask=ask_classes, check=data_problems)
    assert not made.warnings
    graph = check_shapes(made, registry())
    if count is not None:
        assert sum(prod(graph.type(op.name).shape) for op in graph if op.kind == "parameter") == count
    assert format_text(source.text) == source.text
