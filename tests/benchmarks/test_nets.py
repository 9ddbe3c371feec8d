"""Nets made for other systems from a spec's graph compute what alexdsl computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import alexdsl
from alexdsl.ir.graph import Graph
from alexdsl.program import Program
from alexdsl.spec import Spec
from benchmarks.net import Untranslatable, flop, inputs, load, shaped, weights

torch = pytest.importorskip("torch", reason="PyTorch's nets need: pip install torch==2.13.0")
from benchmarks import torch_net  # noqa: E402

HEAD = """
net small
data of { source = sample("fashion"), resize = exact([23, 23]), batch = 4 }
input image [3, 23, 23]
"""
TAIL = """
loss = softmax_cross_entropy(scores, label)
solver sgd { lr = 0.01, momentum = 0.9, decay = 0.0005, epochs = 1
    bias { lr = 2x, decay = 0 } }
"""
NETS = {
    "towers": """
        group tower(2) {
            a = conv(8, kernel=3, stride=2)   | relu | lrn(alpha=0.1) | maxpool(3, stride=2, round=ceil)
            b = conv(12, kernel=3, pad=1)     | relu | lrn(alpha=0.1, per=mean)
            c = conv(8, kernel=3, sees=all)   | relu
            d = linear(16, sees=all)          | relu
        }
        scores = linear(10)
    """,
    "joins": """
        x = conv(8, kernel=3, pad=1, bias=none) | batch_norm | relu
        y = conv(8, kernel=3, pad=1, groups=4, bias=none) | batch_norm
        z = add(x, y) | relu | avgpool(3, stride=2, pad=1, round=ceil)
        w = z | conv(4, kernel=3, stride=3) | tanh
        v = z | conv(4, kernel=3, stride=3) | sigmoid | scale(0.5)
        concat(w, v) | avgpool(2, count=padded, pad=1) | global_avgpool
        scores = linear(10)
    """,
}  # fmt: skip


def spec_of(body: str, folder: Path) -> Spec:
    path = folder / "small.net"
    path.write_text("\n".join(line.strip() for line in (HEAD + body + TAIL).splitlines()))
    return alexdsl.load(path)


@pytest.fixture(params=list(NETS))
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> Spec:
    return spec_of(NETS[request.param], tmp_path)


def given(program: Program, graph: Graph) -> None:
    for name, array in weights(graph).items():
        (program.weights if name in program.weights else program.state)[name] = array


def relative(found: np.ndarray, right: np.ndarray) -> float:
    return float(np.linalg.norm(found - right) / np.linalg.norm(right))


def test_pytorchs_logits_are_alexdsls(spec: Spec) -> None:
    graph, program = shaped(spec, "predict", "logits"), alexdsl.compile(spec, "cpu")
    program.use("predict")
    given(program, graph)
    images, _ = inputs(graph)
    with torch.no_grad():
        found = torch_net.translate(graph, weights(graph), tower_edges=True)(torch.from_numpy(images))
    assert relative(program.predict(images), found.numpy()) < 1e-5


def test_pytorchs_loss_gradients_and_statistics_are_alexdsls(spec: Spec) -> None:
    graph, program = shaped(spec, "train", "loss"), alexdsl.compile(spec, "cpu")
    program.use("gradients")
    given(program, graph)
    images, labels = inputs(graph)
    net = torch_net.translate(graph, weights(graph), tower_edges=True)
    loss = net(torch.from_numpy(images), torch.from_numpy(labels))
    loss.backward()
    ours, gradients = program.gradients(images, labels)
    assert ours == pytest.approx(loss.item(), rel=1e-5)
    theirs = {name: p.grad.numpy() for name, p in net.named_parameters() if p.grad is not None}
    assert {name.replace(".", "__") for name in gradients} == set(theirs)
    assert max(relative(array, theirs[name.replace(".", "__")]) for name, array in gradients.items()) < 1e-4
    for name, buffer in net.named_buffers():
        assert relative(program.state[name.replace("__", ".")], buffer.numpy()) < 1e-5


def test_lrn_across_towers_is_another_function(tmp_path: Path) -> None:
    graph = shaped(spec_of(NETS["towers"], tmp_path), "predict", "logits")
    images = torch.from_numpy(inputs(graph)[0])
    with torch.no_grad():
        within, across = (torch_net.translate(graph, weights(graph), tower_edges=e)(images) for e in (True, False))
    assert relative(across.numpy(), within.numpy()) > 1e-3


def test_the_solver_has_every_weight_at_its_rate(tmp_path: Path) -> None:
    graph = shaped(spec_of(NETS["towers"], tmp_path), "train", "loss")
    groups = torch_net.solver(graph, torch_net.translate(graph, weights(graph), tower_edges=True)).param_groups
    assert {(g["lr"], g["weight_decay"], g["momentum"]): len(g["params"]) for g in groups} == {
        (0.01, 0.0005, 0.9): 5,
        (0.02, 0.0, 0.9): 5,
    }


def test_onnx_runtimes_logits_are_alexdsls(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime's net needs: pip install onnxruntime onnx")
    from benchmarks import onnx_net

    spec = spec_of(NETS["towers"], tmp_path)
    graph, program = shaped(spec, "predict", "logits"), alexdsl.compile(spec, "cpu")
    program.use("predict")
    given(program, graph)
    images, _ = inputs(graph)
    session = onnxruntime.InferenceSession(onnx_net.translate(graph, weights(graph)))
    assert relative(program.predict(images), session.run(None, {"image": images})[0]) < 1e-5


@pytest.mark.parametrize(
    "line",
    [
        'conv(4, kernel=2, pad="same")'.replace('"', ""),
        "conv(4, kernel=4, stride=4, round=ceil)",
        "conv(4, kernel=3) | batch_norm(over=2)",
    ],
)
def test_what_pytorch_has_no_word_for_is_said(line: str, tmp_path: Path) -> None:
    graph = shaped(spec_of(f"{line}\nscores = linear(10)", tmp_path), "train", "loss")
    with pytest.raises(Untranslatable):
        torch_net.translate(graph, weights(graph), tower_edges=True)


def test_every_compared_net_can_be_written_for_pytorch() -> None:
    for name in ("alexnet", "lenet5", "cifar-quick", "vgg-a", "resnet-18"):
        graph = shaped(load(name, 1), "train", "loss")
        empty = {op.name: np.empty(graph.type(op.name).shape, np.float32) for op in graph
                 if op.kind in ("parameter", "state")}  # fmt: skip
        assert len(list(torch_net.translate(graph, empty, tower_edges=False).parameters())) == sum(
            op.kind == "parameter" for op in graph
        )


def test_images_are_random_and_the_same_for_everybody() -> None:
    graph = shaped(load("lenet5", 4), "train", "loss")
    (images, labels), (again, _) = inputs(graph), inputs(graph)
    assert np.array_equal(images, again)
    assert images.std() == pytest.approx(1, abs=0.1)
    assert len(set(labels)) > 1


def test_alexnets_products_are_those_of_a_convolution_done_directly() -> None:
    # Forward: 724 million multiply-adds with the paper's towers; twice that backward, but for the images' gradient.
    spec = load("alexnet", 2)
    forward, conv1 = flop(spec, mode="predict"), 2 * 96 * 55 * 55 * 3 * 11 * 11
    assert flop(spec) == 3 * forward - conv1
    assert flop(spec) == pytest.approx(4.13e9, rel=0.005)
    assert flop(spec, ("conv",), "predict") < forward
