"""Whole nets against PyTorch from the same weights: logits, loss, and every gradient's error to float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

import alexdsl
from alexdsl.ir.interpreter import interpret
from alexdsl.passes.pipeline import at_stage
from alexdsl.program import Program

torch = pytest.importorskip("torch", reason="comparing with PyTorch needs: pip install torch==2.13.0")
nn = torch.nn

Net = Callable[[Mapping[str, "torch.Tensor"], "torch.Tensor"], "torch.Tensor"]


def lenet5(w: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    f = nn.functional
    x = f.avg_pool2d(torch.tanh(f.conv2d(x, w["c1.weight"], w["c1.bias"])), 2)
    x = f.avg_pool2d(torch.tanh(f.conv2d(x, w["c3.weight"], w["c3.bias"])), 2)
    x = torch.tanh(f.conv2d(x, w["c5.weight"], w["c5.bias"])).flatten(1)
    x = torch.tanh(f.linear(x, w["f6.weight"], w["f6.bias"]))
    return f.linear(x, w["out.weight"], w["out.bias"])


def alexnet(w: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    f = nn.functional

    def conv(name: str, x: torch.Tensor, **more: int) -> torch.Tensor:
        return torch.relu(f.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], **more))

    def lrn(x: torch.Tensor) -> torch.Tensor:
        # PyTorch divides alpha by the size, the paper's formula does not; and windows end at a tower's edge.
        return torch.cat([f.local_response_norm(half, 5, alpha=5e-4, beta=0.75, k=2.0) for half in x.chunk(2, 1)], 1)

    x = f.max_pool2d(lrn(conv("conv1", x, stride=4)), 3, 2)
    x = f.max_pool2d(lrn(conv("conv2", x, padding=2, groups=2)), 3, 2)
    x = conv("conv3", x, padding=1)
    x = conv("conv4", x, padding=1, groups=2)
    x = f.max_pool2d(conv("conv5", x, padding=1, groups=2), 3, 2)
    return classifier(w, x)


def caffenet(w: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    f = nn.functional

    def conv(name: str, x: torch.Tensor, **more: int) -> torch.Tensor:
        return torch.relu(f.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], **more))

    def norm(x: torch.Tensor) -> torch.Tensor:
        return f.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)

    x = norm(f.max_pool2d(conv("conv1", x, stride=4), 3, 2))
    x = norm(f.max_pool2d(conv("conv2", x, padding=2, groups=2), 3, 2))
    x = conv("conv3", x, padding=1)
    x = conv("conv4", x, padding=1, groups=2)
    x = f.max_pool2d(conv("conv5", x, padding=1, groups=2), 3, 2)
    return classifier(w, x)


def vgg_a(w: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    f = nn.functional
    for name, pools in (("1_1", 1), ("2_1", 1), ("3_1", 0), ("3_2", 1), ("4_1", 0), ("4_2", 1), ("5_1", 0), ("5_2", 1)):
        x = torch.relu(f.conv2d(x, w[f"conv{name}.weight"], w[f"conv{name}.bias"], padding=1))
        x = f.max_pool2d(x, 2) if pools else x
    return classifier(w, x)


def classifier(w: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    f = nn.functional
    x = torch.relu(f.linear(x.flatten(1), w["fc6.weight"], w["fc6.bias"]))
    x = torch.relu(f.linear(x, w["fc7.weight"], w["fc7.bias"]))
    return f.linear(x, w["fc8.weight"], w["fc8.bias"])


def resnet_18(w: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    f = nn.functional

    def cbn(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight = w[f"{name}.conv.weight"]
        x = f.conv2d(x, weight, stride=stride, padding=(weight.shape[-1] - 1) // 2)
        return norm(f"{name}.batch_norm", x)

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        running = w.get(f"{name}.mean"), w.get(f"{name}.variance")
        return f.batch_norm(x, *running, w[f"{name}.weight"], w[f"{name}.bias"], training=running[0] is None)

    x = torch.relu(norm("stem.batch_norm", f.conv2d(x, w["stem.weight"], stride=2, padding=3)))
    x = f.max_pool2d(x, 3, 2, padding=1)
    for stage in range(1, 5):
        blocks = ("same_block", "same_block_2") if stage == 1 else ("down_block", "same_block")
        for block in blocks:
            name = f"stage{stage}.{block}"
            down = block == "down_block"
            short = cbn(f"{name}.short.cbn", x, 2) if down else x
            main = torch.relu(cbn(f"{name}.main.cbn", x, 2 if down else 1))
            x = torch.relu(cbn(f"{name}.main.cbn_2", main) + short)
    return f.linear(x.mean((2, 3)), w["fc.weight"], w["fc.bias"])


SMALL = {"data.crop": "64", "data.resize": "shorter_side(64)"}
NETS: dict[str, tuple[str, Net, int, dict[str, str]]] = {
    "lenet5": ("specs/lenet5.net", lenet5, 8, {}),
    "alexnet": ("specs/alexnet.net", alexnet, 2, {}),
    "caffenet": ("specs/caffenet.net", caffenet, 2, {}),
    "vgg-a at 64x64": ("specs/vgg-a.net", vgg_a, 2, SMALL),
    "resnet-18 at 64x64": ("specs/resnet-18.net", resnet_18, 4, SMALL),
}


def batch_for(program: Program) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    shape = next(op.attrs["shape"] for op in program.spec.graph if op.kind == "input" and "shape" in op.attrs)
    images = random.standard_normal((program.batch, *shape)).astype(np.float32)
    return images, random.integers(0, 10, program.batch)


def relative(found: np.ndarray, right: np.ndarray) -> float:
    return float(np.linalg.norm(found - right) / max(np.linalg.norm(right), 1e-30))


@pytest.fixture(scope="module", params=list(NETS))
def case(request: pytest.FixtureRequest) -> tuple[Program, Net]:
    path, net, batch, changes = NETS[request.param]
    spec = alexdsl.load(path, set={"data.classes": "10", **changes})
    program = alexdsl.compile(spec, "cpu", batch=batch, seed=3)
    random = np.random.default_rng(2)
    for name in program.weights:
        shape = program.weights.shape(name)
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        program.weights[name] = (random.standard_normal(shape) * scale).astype(np.float32)
    return program, net


def torch_gradients(program: Program, net: Net, dtype: torch.dtype) -> tuple[np.ndarray, float, dict[str, np.ndarray]]:
    weights = {
        n: torch.from_numpy(np.ascontiguousarray(a)).to(dtype).requires_grad_() for n, a in program.weights.items()
    }
    images, labels = batch_for(program)
    logits = net(weights, torch.from_numpy(images).to(dtype))
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    loss.backward()
    return logits.detach().numpy(), float(loss.detach()), {n: w.grad.numpy() for n, w in weights.items()}


def test_logits_agree(case: tuple[Program, Net]) -> None:
    program, net = case
    images, _ = batch_for(program)
    if any(name.endswith(".mean") for name in program.state):
        program.step(*batch_for(program), rate=0.0)  # so that the running statistics are no more the first ones
    arrays = {**program.weights, **{n: a for n, a in program.state.items() if not n.endswith("velocity")}}
    with torch.no_grad():
        logits = net(
            {n: torch.from_numpy(np.ascontiguousarray(a)) for n, a in arrays.items()}, torch.from_numpy(images)
        )
    assert relative(program.predict(images), logits.numpy()) < 1e-4


def test_every_gradient_is_as_exact_as_pytorchs(case: tuple[Program, Net]) -> None:
    program, net = case
    loss, found = program.gradients(*batch_for(program))
    _, exact_loss, exact = torch_gradients(program, net, torch.float64)
    _, _, single = torch_gradients(program, net, torch.float32)
    assert loss == pytest.approx(exact_loss, rel=1e-4)
    assert set(found) == set(exact)
    errors = {name: (relative(found[name], exact[name]), relative(single[name], exact[name])) for name in exact}
    assert {name: pair for name, pair in errors.items() if pair[0] > 2 * pair[1] + 1e-5} == {}


def test_the_reference_interpreter_agrees_with_pytorch_in_float64() -> None:
    spec = alexdsl.load("specs/lenet5.net", set={"data.classes": "10"})
    program = alexdsl.compile(spec, "cpu", batch=4, seed=3)
    _, _, exact = torch_gradients(program, lenet5, torch.float64)
    images, labels = batch_for(program)
    graph = at_stage(program.spec.graph, program.options("gradients"), "placed")
    given = {name: np.asarray(a, np.float64) for name, a in program.weights.items()}
    outcome = interpret(
        graph, program.registry, {**given, "image": images.astype(np.float64), "label": labels.astype(np.int32)}
    )
    assert max(relative(outcome.outputs[f"{name}.grad"], exact[name]) for name in exact) < 1e-12
