"""What each rule of the language makes of a spec: the names, operands and attributes of the parsed graph."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import pytest

from alexdsl.data.block import ask_classes, data_problems, data_settings
from alexdsl.data.settings import (
    ColourJitter,
    DataSettings,
    Env,
    Exact,
    Folder,
    Idx,
    Mirror,
    PcaNoise,
    RandomCrop,
    RandomScale,
    Sample,
    Shards,
    ShorterSide,
    Split,
)
from alexdsl.ir.graph import Op
from alexdsl.language import Diagnostics, Source, SpecError, parse, parse_expression, read_source
from alexdsl.language.formatter import format_text
from alexdsl.passes.bind import BATCH, Block, Bound, bind
from alexdsl.passes.check import check_shapes
from alexdsl.registry import registry

IMAGE = "input image [3, 32, 32]\n"
END = "\nscores = linear(10)\nloss = softmax_cross_entropy(scores)\n"
SPECS = Path(__file__).parents[2] / "specs"


def bound(text: str, **overrides: str) -> Bound:
    sets = {leaf.replace("__", "."): parse_expression(value) for leaf, value in overrides.items()}
    return bind(parse(Source("test.net", text)), registry(), overrides=sets, ask=ask_classes, check=data_problems)


def ops(body: str, tail: str = "", **overrides: str) -> Mapping[str, Op]:
    """The ops of an image net with this body, by name."""
    return {op.name: op for op in bound(IMAGE + body + END + tail, **overrides).graph}


def mistake(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        bound(text)
    (found,) = caught.value.diagnostics
    return found.message


def steps(body: str, **overrides: str) -> list[str]:
    """The names of all ops but leaves, in order, without the net's end."""
    found = ops(body, **overrides).values()
    return [op.name for op in found if op.operands and not op.name.startswith(("scores", "loss"))]


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


# --- defs and repeats


def test_a_def_adds_a_level_and_makes_new_weights() -> None:
    found = ops(
        "def cbn(width, k = 3) {\n conv(width, kernel=k, pad=same)\n y = batch_norm | relu\n}\n"
        "stem = cbn(8) | cbn(4, 1)"
    )
    assert {"stem.cbn.conv.weight", "stem.cbn.y.weight", "stem.cbn_2.conv.weight", "stem.cbn.y.mean"} <= set(found)
    assert found["stem.cbn_2.conv"].operands[0] == "stem.cbn.y.relu"
    assert found["stem.cbn_2.conv"].attrs["kernel"] == (1, 1)
    assert found["scores.linear"].operands[0] == "stem.cbn_2.y.relu"


def test_in_is_what_comes_into_a_def_or_repeat() -> None:
    found = ops("def f() { relu | add(in) }\na = tanh | f\nb = repeat 2 { sigmoid | add(in) }")
    assert found["a.f.relu"].operands == ("a.tanh",)
    assert found["a.f.add"].operands == ("a.f.relu", "a.tanh")
    assert found["b.2.add"].operands == ("b.2.sigmoid", "b.1.add")
    assert found["scores.linear"].operands[0] == "b.2.add"


def test_def_parameters_may_be_values_and_use_each_other() -> None:
    found = ops("def f(x, n, m = n / 2) { x | linear(m) }\na = relu\nb = f(a, 8)\nc = f(a | tanh, n=8, m=3)")
    assert found["b.f.linear"].operands[0] == "a.relu"
    assert found["b.f.linear"].attrs["units"] == 4
    assert found["c.f.linear"].operands[0] == "c.tanh"


def test_defs_see_where_they_stand_and_not_their_users() -> None:
    found = ops("const n = 3\ndef g() { linear(n) }\ndef f(n) { g | linear(n) }\na = f(5)")
    assert found["a.f.g.linear"].attrs["units"] == 3
    assert found["a.f.linear"].attrs["units"] == 5
    inner = ops("def f() {\n def g() { relu }\n g | g\n}\na = f")
    assert {"a.f.g.relu", "a.f.g_2.relu"} <= set(inner)


def test_share_uses_the_weights_of_an_earlier_use() -> None:
    found = ops("def f() { conv(8, kernel=3) }\na = f()\nb = image | f(share=a)\nc = image | f()\nd = add(a, b, c)")
    assert found["b.f.conv"].operands == ("image", "a.f.conv.weight", "a.f.conv.bias")
    assert found["c.f.conv"].operands[1] == "c.f.conv.weight"


def test_repeats_count_their_rounds_and_nest() -> None:
    assert steps("a = repeat 2 { repeat 2 { relu } }\nrepeat 1 { tanh }") == [
        "a.1.repeat.1.relu", "a.1.repeat.2.relu", "a.2.repeat.1.relu", "a.2.repeat.2.relu", "repeat.1.tanh",
    ]  # fmt: skip
    assert "a.2.x.conv" in ops("a = repeat 2 { x = conv(3, kernel=1) }")


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


# --- groups


def test_a_group_cuts_layers_and_says_what_they_see() -> None:
    found = ops(
        "group tower(2) {\n a = conv(8, kernel=3) | relu | lrn\n b = conv(8, kernel=3, sees=all)\n"
        " c = conv(8, kernel=3)\n}"
    )
    seen = {name: op.attrs.get("sees") for name, op in found.items() if op.attrs.get("towers") == 2}
    assert seen == {"a.conv": "all", "a.relu": None, "a.lrn": "own", "b.conv": "all", "c.conv": "own"}
    assert "towers" not in found["scores.linear"].attrs


def test_one_tower_is_no_group() -> None:
    found = ops("group tower(1) {\n a = conv(8, kernel=3)\n b = conv(8, kernel=3, sees=all)\n}")
    assert not any("towers" in op.attrs or "sees" in op.attrs for op in found.values())


def test_defs_and_repeats_in_a_group_are_cut() -> None:
    found = ops("def f() { relu }\ngroup t(2) {\n a = conv(8, kernel=3) | f\n b = repeat 2 { tanh }\n}")
    assert all(found[name].attrs["towers"] == 2 for name in ("a.f.relu", "b.1.tanh", "b.2.tanh"))


# --- place


GROUP = "group t(2) {\n a = conv(8, kernel=3) | relu\n b = conv(8, kernel=3)\n}\nc = relu"


@pytest.mark.parametrize(
    ("tail", "places"),
    [
        ("place t over g0, g1", {"a.conv": ("g0", "g1"), "b.weight": ("g0", "g1"), "c.relu": None}),
        ("place a..c on g1", {"a.relu": ("g1",), "b.conv": ("g1",), "c.relu": ("g1",), "scores.linear": None}),
        ("place a, c on g1", {"a.conv": ("g1",), "b.conv": None, "c.relu": ("g1",)}),
        (
            "place all on g0\nplace c on g1",
            {"a.conv": ("g0",), "c.relu": ("g1",), "loss.softmax_cross_entropy": ("g0",)},
        ),
        ("place a..b by tower over g1, g0", {"a.conv": ("g1", "g0"), "b.bias": ("g1", "g0")}),
    ],
)
def test_places(tail: str, places: dict[str, tuple[str, ...] | None]) -> None:
    found = ops(GROUP, tail)
    assert {name: found[name].attrs.get("place") for name in places} == places


def test_devices_are_in_the_order_in_which_they_are_named() -> None:
    graph = bound(IMAGE + GROUP + END + "place c on g2\nplace t over g1, g0\n").graph
    assert graph.attrs["devices"] == ("g2", "g1", "g0")
    assert bound(IMAGE + GROUP + END).graph.attrs["devices"] == ("device0",)


# --- solver


def test_solver_blocks_apply_in_file_order() -> None:
    tail = (
        "solver sgd {\n lr = 0.1, decay = 0.01\n bias { lr = 2x, decay = 0 }\n a..b { lr = 3x }\n"
        " b.bias { lr = 0 }\n conv { momentum = 0.5 }\n}"
    )
    found = ops(GROUP, tail)
    rates = {name: op.attrs["lr"] for name, op in found.items() if op.kind == "parameter"}
    assert rates == pytest.approx(
        {"a.weight": 0.3, "a.bias": 0.6, "b.weight": 0.3, "b.bias": 0, "scores.weight": 0.1, "scores.bias": 0.2}
    )
    assert (found["scores.bias"].attrs["decay"], found["a.weight"].attrs["decay"]) == (0.0, 0.01)
    assert (found["a.weight"].attrs["momentum"], found["scores.weight"].attrs["momentum"]) == (0.5, 0.9)


def test_solver_settings_and_schedule() -> None:
    tail = "report top1(scores)\nsolver sgd { lr = 0.1, epochs = 3, schedule = plateau(val.top1, factor = 50%) }"
    solver = bound(IMAGE + "a = relu" + END + tail).solver
    assert (solver.kind, solver.attrs["lr"], solver.epochs, solver.steps) == ("sgd", 0.1, 3, None)
    assert solver.schedule == ("plateau", {"metric": "val.top1", "factor": 0.5, "patience": 5, "rises": True})
    assert not bound(IMAGE + "a = relu" + END).has_solver


@pytest.mark.parametrize(
    ("metric", "rises"), [("val.top1", True), ("val.loss", False), ("val.softmax_cross_entropy", False)]
)
def test_a_metric_knows_its_direction(metric: str, rises: bool) -> None:
    solver = f"solver sgd {{ lr = 1, schedule = plateau({metric}) }}"
    tail = f"report top1(scores), softmax_cross_entropy(scores, label)\n{solver}"
    assert bound(IMAGE + "a = relu" + END + tail).solver.schedule[1]["rises"] is rises


def test_declared_first_values_are_those_that_one_would_write() -> None:
    plain, written = (
        bound(IMAGE + f"a = conv(4, kernel=3{weight}) | linear(5{weight})" + END).graph
        for weight in ("", ", weight=he, bias=0")
    )
    first = [[op.attrs["init"] for op in graph if "init" in op.attrs] for graph in (plain, written)]
    assert first[0] == first[1]
    assert first[0][0] == {"kind": "he", "by": "normal", "fan": "in"}


def test_a_data_block_without_a_batch_has_the_declared_one() -> None:
    found = bound('data d { source = sample("fashion") }\n' + IMAGE + "a = relu" + END)
    assert found.batch == found.graph.attrs["batch"] == BATCH == 128


# --- overrides


def test_set_overrides_any_leaf() -> None:
    body = "const w = 8\nmain = repeat 2 { conv(w, kernel=3) }\nfc = linear(4) | dropout(0.5) | dropout(0.5)"
    found = ops(body, w="4", main="1", fc__units="6", fc__dropout__p="0.25", fc__dropout_2__p="10%", image="[1, 9, 9]")
    assert found["image"].attrs["shape"] == (1, 9, 9)
    assert found["main.1.conv"].attrs["maps"] == 4
    assert "main.2.conv" not in found
    assert found["fc.linear"].attrs["units"] == 6
    assert (found["fc.dropout"].attrs["p"], found["fc.dropout_2"].attrs["p"]) == (0.25, 0.1)


def test_set_gives_what_the_spec_leaves_out() -> None:
    found = ops("a = conv(8, kernel=3)\ndefault conv { bias = 1 }", a__stride="2", default__conv__bias="3")
    assert found["a.conv"].attrs["stride"] == (2, 2)
    assert found["a.bias"].attrs["init"]["value"] == 3.0


def test_set_overrides_solver_and_data() -> None:
    text = 'data d { source = sample("fashion"), batch = 4 }\n' + IMAGE + "a = relu" + END
    text += "solver sgd { epochs = 3, bias { lr = 2x } }"
    found = bound(text, data__batch="8", solver__lr="0.5", solver__steps="7", solver__bias__lr="4x")
    assert (found.batch, found.solver.steps, found.solver.epochs) == (8, 7, None)
    assert found.graph.producers["scores.bias"].attrs["lr"] == 2.0


# --- data


def data(settings: str) -> DataSettings | None:
    found = bound(f"const n = 64\ndata d {{\n{settings}\n}}\n{IMAGE}a = relu{END}")
    assert isinstance(found.data, Block)
    diagnostics = Diagnostics()
    made = data_settings(found.data, diagnostics)
    assert not diagnostics.errors
    return made


def test_data_settings() -> None:
    assert data(
        'source = folder(env("HOME"), else = sample("fashion"))\nval = split(5%)\nresize = shorter_side(4 * n)\n'
        "crop = 227\naugment = [random_crop, mirror, pca_noise(0.2, by = eigenvalue)]\nbatch = n\nmean = image\n"
        "scale = 1 / 64\nchannels = 3\nclasses = 10"
    ) == DataSettings(
        Folder(Env("HOME"), Sample("fashion")), Split(0.05), ShorterSide(256), 227,
        (RandomCrop(), Mirror(), PcaNoise(0.2, "eigenvalue")), 64, 3, 10, "image", 1 / 64,
    )  # fmt: skip
    assert data('source = idx("a", "b")\nval = idx("c", "d")\nresize = exact([8, 9])\ncrop = [5, 6]\nmean = 3') == (
        DataSettings(Idx("a", "b"), Idx("c", "d"), Exact(8, 9), (5, 6), mean=3.0)
    )
    assert data('source = folder("x")\nresize = shorter_side(8, square = false)\naugment = mirror') == (
        DataSettings(Folder("x"), None, ShorterSide(8, square=False), augment=(Mirror(),))
    )
    assert data(
        'source = shards(env("SET"), else = folder("x"))\nval = shards("y")\ncrop = 8\n'
        "augment = [random_scale(0.5, 1), colour_jitter(contrast = 0.2, brightness = 0.1)]"
    ) == DataSettings(
        Shards(Env("SET"), Folder("x")), Shards("y"), crop=8, augment=(RandomScale(0.5, 1), ColourJitter(0.1, 0.2)),
    )  # fmt: skip
    assert data("source = sample\nresize = none\ncrop = none\naugment = none") == DataSettings(Sample())


def test_leaves_of_the_data_and_constants_use_each_other() -> None:
    found = bound(
        'const side = 28\nconst half = data.crop / 2\ndata d { source = sample("fashion"), crop = side, batch = 2 }\n'
        "input image [1, data.crop, half]\na = relu" + END
    )
    assert found.graph.producers["image"].attrs["shape"] == (1, 28, 14)
    assert (found.batch, found.graph.attrs["batch"]) == (2, 2)


def test_classes_are_asked_only_where_used() -> None:
    asked: list[str] = []

    def ask(block: Block) -> int:
        asked.append(block.name)
        return 7

    text = 'data d { source = folder("none") }\n' + IMAGE
    for end, times in ((END, 0), (END.replace("10", "data.classes"), 1)):
        made = bind(parse(Source("t", text + "a = relu" + end)), registry(), ask=ask)
        assert len(asked) == times
    assert made.graph.producers["scores.linear"].attrs["units"] == 7
    given = (
        text.replace("none", "none").replace(" }", ", classes = 5 }") + "a = relu" + END.replace("10", "data.classes")
    )
    assert bound(given).graph.producers["scores.linear"].attrs["units"] == 5


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
