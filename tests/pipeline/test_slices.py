"""A batch in slices gives the same numbers as the whole batch, and needs less memory between forward and backward."""

from __future__ import annotations

import numpy as np
import pytest

from alexdsl.ir.interpreter import Outcome, interpret
from alexdsl.ir.protocol import STAGES, ShapeError
from alexdsl.language import Source
from alexdsl.passes.pipeline import Options, at_stage
from alexdsl.program import compile
from alexdsl.spec import from_source
from tests.pipeline.example_backend import ExampleBackend
from tests.pipeline.nets import REGISTRY, SHARED, arrays, bound

NET = """
net sliced
data d { source = sample("fashion"), batch = 8 }
default conv, linear { weight = normal(0.1), bias = 0 }
input image [3, 12, 12]
group tower(2) {
    conv1 = conv(4, kernel=3)             | relu | lrn(alpha=0.1) | maxpool(3, stride=2)
    conv2 = conv(8, kernel=3, sees=all)   | tanh | dropout(0.3)
    fc3   = linear(10, sees=all)          | relu | dropout(0.5, scale=test)
}
fc4  = linear(5)
aux  = conv1 | linear(5)
loss = add(softmax_cross_entropy(fc4, label), scale(softmax_cross_entropy(aux, label), 0.3))
report top1(fc4), topk(fc4, k=2)
place tower over gpu0, gpu1
solver sgd { lr = 0.1, slices = 1, bias { lr = 2x, decay = 0 } }
"""
TWICE = SHARED.replace("batch = 2", "batch = 8").replace("epochs = 1", "slices = 1")
WIDE = """
net wide
data d { source = sample("fashion"), batch = 64 }
input image [3, 64, 64]
a = conv(16, kernel=3, pad=1) | relu | maxpool(2) | conv(16, kernel=3, pad=1) | relu
out = a | global_avgpool | linear(10)
loss = softmax_cross_entropy(out, label)
solver sgd { lr = 0.1, slices = 1 }
"""


def _text(slices: int, net: str = NET) -> str:
    return net.replace("slices = 1", f"slices = {slices}")


def _outcome(net: str, slices: int, stage: str, mode: str) -> Outcome:
    """What a stage computes in double precision from the same batch."""
    graph = at_stage(bound(_text(slices, net)), Options(REGISTRY, ExampleBackend(), mode), stage)
    return interpret(graph, REGISTRY, arrays(bound(_text(1, net))))


@pytest.mark.parametrize("mode", ["train", "gradients"])
@pytest.mark.parametrize("stage", STAGES[2:])
@pytest.mark.parametrize("slices", [2, 4])
@pytest.mark.parametrize("net", [NET, TWICE], ids=["towers", "shared weights"])
def test_slices_compute_what_the_batch_does(net: str, slices: int, stage: str, mode: str) -> None:
    whole, cut = _outcome(net, 1, stage, mode), _outcome(net, slices, stage, mode)
    assert set(cut.outputs) == set(whole.outputs) - {"logits"}
    assert set(cut.updates) == set(whole.updates)
    for name, value in (*cut.outputs.items(), *cut.updates.items()):
        expected = whole.outputs[name] if name in whole.outputs else whole.updates[name]
        np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-13, err_msg=name)


def test_a_slice_is_gone_before_the_next_begins() -> None:
    graph = at_stage(bound(_text(4)), Options(REGISTRY, ExampleBackend()), "differentiated")
    # What every slice's loss counts for in the sum is known beforehand.
    known = {"rate", *(op.name for op in graph if op.kind == "constant")}
    order = []
    for op in graph:
        if op.operands and known.issuperset(op.operands):
            known |= {r.name for r in op.results}
        elif op.operands and op.name.startswith("slice"):
            order.append(op.name.split(".")[0])
    assert order == sorted(order)
    assert {op.kind for op in graph} >= {"accumulate", "mean"}


def test_prediction_knows_no_slices() -> None:
    one, three = (
        at_stage(bound(_text(n)), Options(REGISTRY, ExampleBackend(), "predict"), "placed").ops for n in (1, 4)
    )
    assert one == three


def test_the_cpu_trains_by_slices_as_by_the_batch() -> None:
    random = np.random.default_rng(5)
    images = random.normal(size=(8, 3, 12, 12)).astype(np.float32)
    labels = np.asarray([0, 1, 2, 3, 4, -1, 0, 2])
    found = []
    for slices in (1, 4):
        program = compile(from_source(Source("a.net", _text(slices))), threads=2)
        loss, gradients = program.gradients(images, labels, dropout=True)
        metrics = [program.step(images, labels) for _ in range(2)]
        found.append(({"loss": loss, **metrics[-1], **gradients}, dict(program.weights), program.predict(images)))
        program.close()
    (whole, weights, scores), (cut, cut_weights, cut_scores) = found
    for name, value in whole.items():
        np.testing.assert_allclose(cut[name], value, rtol=2e-5, atol=2e-7, err_msg=name)
    for name, value in weights.items():
        np.testing.assert_allclose(cut_weights[name], value, rtol=2e-5, atol=2e-7, err_msg=name)
    np.testing.assert_allclose(cut_scores, scores, rtol=2e-5, atol=2e-6)


def test_slices_need_less_memory() -> None:
    whole, cut = (
        at_stage(bound(_text(n, WIDE)), Options(REGISTRY, ExampleBackend()), "program").attrs["arenas"] for n in (1, 8)
    )
    assert sum(cut.values()) < 0.4 * sum(whole.values())


def test_a_batch_that_slices_do_not_divide() -> None:
    spec = from_source(Source("a.net", _text(4))).with_batch(6)
    with pytest.raises(ShapeError, match="slices = 4 does not divide the batch of 6"):
        at_stage(spec.graph, Options(REGISTRY, ExampleBackend()), "shaped")
