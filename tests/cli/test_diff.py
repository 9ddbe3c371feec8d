"""``alexdsl diff``: what differs in meaning is told, what is only written otherwise is not; outputs agree with that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexdsl.cli import main
from alexdsl.compare import compare
from alexdsl.compare.outputs import ROUNDING, compare_outputs
from alexdsl.language import Source
from alexdsl.spec import Spec, from_source
from tests.layers.samples import REGISTRY, SEMANTICS, of_kinds

SPECS = Path(__file__).parents[2] / "specs"
NET = """input image [3, 16, 16]
conv1 = conv(8, kernel=3, pad=1) | relu | lrn | maxpool(2)
conv2 = conv(8, kernel=3, pad=1, groups=2, bias=0.3) | relu | avgpool(2)
fc3   = linear(10) | tanh | dropout(0.5)
out   = linear(4)
loss  = softmax_cross_entropy(out, label)
solver sgd { lr = 0.01, epochs = 1 }
"""
SAME = {
    "a comment": ("conv1 =", "# the first\nconv1 ="),
    "defaults written out": ("pad=1) | relu | lrn", "pad=1, stride=1) | relu | lrn(5)"),
    "a pad in another form": ("conv(8, kernel=3, pad=1) |", "conv(8, kernel=3, pad=same) |"),
    "lrn per mean with a larger alpha": ("| lrn |", "| lrn(alpha=0.0005, per=mean) |"),
    "rounding where windows fit": ("maxpool(2)", "maxpool(2, stride=2, round=ceil)"),
    "a rising function behind max pooling": ("| relu | lrn | maxpool(2)", "| lrn | maxpool(2)"),
    "flatten before linear": ("fc3   = linear", "fc3   = flatten | linear"),
    "towers in place of groups": (
        "conv2 = conv(8, kernel=3, pad=1, groups=2, bias=0.3) | relu | avgpool(2)\n",
        "group tower(2) {\n wide = image | conv(8, kernel=3, pad=1, sees=all)\n}\n",
    ),
    "slices": ("epochs = 1", "epochs = 1, slices = 2"),
}
"""Changes of NET's text that change no meaning; the two that need another net are made below."""
OTHER = {
    "lrn k": ("| lrn |", "| lrn(k=1) |"),
    "lrn alpha": ("| lrn |", "| lrn(alpha=1) |"),
    "lrn per mean": ("| lrn |", "| lrn(alpha=0.5, per=mean) |"),
    "order of lrn and pooling": ("| lrn | maxpool(2)", "| maxpool(2) | lrn(alpha=1)"),
    "another activation": ("| tanh", "| sigmoid"),
    "no groups": (", groups=2", ""),
    "a kernel": ("conv1 = conv(8, kernel=3, pad=1)", "conv1 = conv(8, kernel=5, pad=2)"),
    "a layer more": ("| tanh", "| tanh | scale(2)"),
    "a layer less": ("| relu | lrn", "| lrn"),
    "rounding where windows do not fit": ("maxpool(2)", "maxpool(3, stride=2, round=ceil)"),
}


def spec(text: str) -> Spec:
    return from_source(Source("net.net", text))


def changed(change: tuple[str, str], text: str = NET) -> Spec:
    assert change[0] in text
    return spec(text.replace(*change, 1))


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = main(["diff", *words, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


def test_is_caffenet_the_real_alexnet(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = told(capsys, str(SPECS / "alexnet.net"), str(SPECS / "caffenet.net"))
    assert code == 1
    assert found["a"]["parameters"] == found["b"]["parameters"]
    assert found["a"]["multiply_adds"] == found["b"]["multiply_adds"]
    net = {(d["what"], *d["where"]): (d["a"], d["b"]) for d in found["differences"] if d["part"] == "net"}
    norms = ("conv1.lrn", "conv2.lrn")
    assert net == {
        ("order", "conv1", "conv2"): ("conv, relu, lrn, maxpool", "conv, relu, maxpool, lrn"),
        ("lrn: k", *norms): ("2", "1"),
        ("lrn: alpha of a map's square", *norms): ("0.0001", "2e-05"),
        ("lrn: windows", *norms): ("end at the edge of each of 2 towers", "reach over all maps"),
    }
    others = {(d["part"], d["what"]) for d in found["differences"] if d["part"] != "net"}
    assert others == {
        ("start", "first weights"), ("start", "first biases"), ("data", "resize"), ("data", "augment: pca_noise"),
        ("data", "batch"), ("data", "scale"), ("training", "epochs"), ("training", "steps"), ("training", "schedule"),
        ("training", "warmup"), ("training", "learning rate of weights"), ("training", "learning rate of biases"),
    }  # fmt: skip
    assert {(d["what"], *d["where"]) for d in found["written_otherwise"]} == {
        ("conv", "conv1", "conv3"), ("conv", "conv2", "conv4", "conv5"), ("linear", "fc6", "fc7"), ("place",),
    }  # fmt: skip


def test_the_answer_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(SPECS / "alexnet.net"), str(SPECS / "caffenet.net")]) == 1
    shown = capsys.readouterr().out
    assert "from the same weights they compute different values" in shown.replace("\n", " ")
    assert all(len(line) <= 120 for line in shown.splitlines())
    assert main(["diff", str(SPECS / "alexnet.net"), str(SPECS / "alexnet-paper.net")]) == 1
    assert "The net is the same" in capsys.readouterr().out
    assert main(["diff", str(SPECS / "alexnet.net"), str(SPECS / "alexnet-1tower.net")]) == 1
    assert "its own one of 2 parts of the input" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(path.stem for path in SPECS.glob("*.net")))
def test_a_spec_is_the_same_as_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = told(capsys, str(SPECS / f"{name}.net"), str(SPECS / f"{name}.net"))
    assert code == 0
    assert found["differences"] == found["written_otherwise"] == []


def _pair(name: str) -> tuple[Spec, Spec]:
    """A net and what SAME makes of it."""
    if name == "a rising function behind max pooling":
        before = changed(("| relu | lrn | maxpool(2)", "| relu | maxpool(2)"))
        return before, changed(("| relu | lrn | maxpool(2)", "| maxpool(2) | relu"))
    if name == "towers in place of groups":
        towers = "group tower(2) {\n    conv2 = conv(8, kernel=3, pad=1, bias=0.3) | relu | avgpool(2)\n}\n"
        # Inside a group a chain sees what comes from outside whole, so the halves begin one layer earlier.
        first = "conv1 = conv(8, kernel=3, pad=1) | relu | maxpool(2)\n"
        rest = NET.splitlines(keepends=True)
        groups = "".join([rest[0], first, rest[2], *rest[3:]])
        return spec(groups), spec("".join([rest[0], towers.replace("{\n", "{\n    " + first, 1), *rest[3:]]))
    return spec(NET), changed(SAME[name])


@pytest.mark.parametrize("name", SAME)
def test_what_is_written_otherwise_is_the_same_and_computes_the_same(name: str) -> None:
    found = compare(*_pair(name))
    assert [d for d in found.differences if d.part != "same"] == []
    measured = compare_outputs(found, lambda text: None)
    assert measured.carried == measured.of
    assert measured.first is None


@pytest.mark.parametrize("name", OTHER)
def test_what_differs_is_told_and_computes_something_else(name: str) -> None:
    found = compare(spec(NET), changed(OTHER[name]))
    assert {d.part for d in found.differences} - {"start"} == {"net"}
    measured = compare_outputs(found, lambda text: None)
    assert measured.first is not None
    assert measured.chains["scores"] > ROUNDING


def test_renamed_layers_are_the_same_layers() -> None:
    renamed = spec(NET.replace("conv1", "first").replace("fc3", "hidden"))
    found = compare(spec(NET), renamed)
    assert found.same
    assert {(d.what, d.a, d.b) for d in found.differences} == {("name", "conv1", "first"), ("name", "fc3", "hidden")}
    assert compare_outputs(found, lambda text: None).first is None


@pytest.mark.parametrize(
    ("change", "part", "what"),
    [
        (("bias=0.3", "bias=1"), "start", "first biases"),
        (("linear(10)", "linear(10, weight=xavier)"), "start", "first weights"),
        (("lr = 0.01", "lr = 0.02"), "training", "learning rate of weights"),
        (("epochs = 1", "epochs = 1, velocity = outside"), "training", "velocity"),
        (("epochs = 1", "epochs = 1, warmup = 5"), "training", "warmup"),
        (("epochs = 1", "epochs = 1\n    bias { decay = 0 }"), "training", "weight decay of biases"),
        (("dropout(0.5)", "dropout(0.5, scale=test)"), "net", "dropout: scale"),
    ],
)
def test_recipes(change: tuple[str, str], part: str, what: str) -> None:
    found = compare(spec(NET), changed(change))
    assert (part, what) in {(d.part, d.what) for d in found.differences}
    assert {d.part for d in found.differences} == {part}


@pytest.mark.parametrize("kind", sorted(REGISTRY.layers))
def test_samples_of_equal_meaning_compute_the_same(kind: str) -> None:
    """Whatever a kind says of its meaning, in particular what it leaves out, is true of its reference."""
    variants = [sample for sample in of_kinds(kind) if "first" not in sample.given]
    meanings = [sample.layer.meaning(sample.types, sample.attrs) for sample in variants]
    assert all(isinstance(text, str) for meaning in meanings for text in meaning.values())
    for i, one in enumerate(variants):
        for j, two in enumerate(variants):
            if i < j and meanings[i] == meanings[j] and one.types == two.types:
                results = [SEMANTICS.reference(kind, one.arrays(), sample.attrs)[0] for sample in (one, two)]
                np.testing.assert_allclose(*results, rtol=1e-12, atol=1e-12)


def test_bad_input(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["diff", "nowhere.net", str(SPECS / "lenet5.net")]) == 2
    assert "nowhere.net cannot be read" in capsys.readouterr().err
    assert main(["diff", str(SPECS / "lenet5.net"), str(SPECS / "alexnet.net"), "--outputs"]) == 2
    assert "the nets take images of [1, 32, 32] and [3, 227, 227]" in capsys.readouterr().err
