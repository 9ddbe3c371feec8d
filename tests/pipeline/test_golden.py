"""What every pass makes of one small net, kept as text; read the diff of what ``pytest --update-golden`` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alexdsl.ir.graph import Graph
from alexdsl.ir.text import print_graph
from alexdsl.passes.pipeline import PIPELINE, Options, run_passes
from tests.pipeline.example_backend import ExampleBackend
from tests.pipeline.nets import REGISTRY, bound

GOLDEN = Path(__file__).parent / "golden"
SPEC = """net small
data d { source = sample("fashion"), batch = 2 }
default conv, linear { weight = normal(0.01), bias = 0 }
input image [3, 9, 9]
group tower(2) {
    conv1 = conv(4, kernel=3, stride=2) | relu | lrn | maxpool(2)
    fc2   = linear(6, sees=all) | relu | dropout(0.5)
}
fc3  = linear(3)
loss = softmax_cross_entropy(fc3, label)
report top1(fc3)
place tower over gpu0, gpu1
solver sgd { lr = 0.01, epochs = 1, bias { lr = 2x, decay = 0 } }
"""


SLICED = SPEC.replace("epochs = 1", "epochs = 1, slices = 2")


def _changes(mode: str, spec: str = SPEC) -> Iterator[tuple[str, Graph]]:
    """What each pass makes of the net, of those that change anything in it."""
    before = None
    for name, graph in run_passes(bound(spec, "small.net"), Options(REGISTRY, ExampleBackend(), mode)):
        if graph != before:
            yield name, graph
        before = graph


TRAINING = dict(_changes("train"))
SLICES = dict(_changes("train", SLICED))
PREDICTION = dict(_changes("predict"))


@pytest.mark.parametrize("name", TRAINING)
def test_training(name: str, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / f"{name}.ir", print_graph(TRAINING[name]))


@pytest.mark.parametrize("name", ["slices", "interleave"])
def test_slices(name: str, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / f"{name}.ir", print_graph(SLICES[name]))


@pytest.mark.parametrize("name", ["predict", "lower"])
def test_prediction(name: str, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / f"predicting_{name}.ir", print_graph(PREDICTION[name]))


def test_no_golden_file_is_left_over() -> None:
    wanted = {*(f"{name}.ir" for name in TRAINING), "predicting_predict.ir", "predicting_lower.ir"}
    assert {path.name for path in GOLDEN.iterdir()} == wanted | {"slices.ir", "interleave.ir"}
    assert {*TRAINING, *SLICES, *PREDICTION} | {"dropout", "prune", "save"} == {
        "bind",
        *(step.name for step in PIPELINE),
    }
