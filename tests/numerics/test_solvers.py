"""Solvers, schedules' factors and clipping against PyTorch's optimisers, over steps of a small net."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from alexdsl.language import Source
from alexdsl.program import compile
from alexdsl.spec import from_source

torch = pytest.importorskip("torch", reason="comparing with PyTorch needs: pip install torch==2.13.0")

NET = """
data d {{ source = sample("fashion"), channels = 1, crop = 12, batch = 8 }}
default conv, linear {{ weight = he, bias = 0 }}
input image [1, 12, 12]
group tower(2) {{ c1 = conv(4, kernel=5) | tanh | avgpool(2) }}
c2   = conv(6, kernel=3) | tanh
out  = linear(10)
loss = softmax_cross_entropy(out, label)
place tower over a, b
solver {solver}
"""
STEPS = 12
RATES = [min(1.0, (step + 1) / 4) for step in range(STEPS)]

Optimiser = Callable[[Iterable[Any]], Any]
OPTIMISERS: dict[str, tuple[str, Optimiser, float | None]] = {
    "sgd": (
        "sgd { lr = 0.05, momentum = 0.9, decay = 0.01, velocity = outside, steps = 1 }",
        lambda w: torch.optim.SGD(w, 0.05, momentum=0.9, weight_decay=0.01),
        None,
    ),
    "sgd in slices": (
        "sgd { lr = 0.05, momentum = 0.9, decay = 0.01, velocity = outside, slices = 4, clip = 0.7, steps = 1 }",
        lambda w: torch.optim.SGD(w, 0.05, momentum=0.9, weight_decay=0.01),
        0.7,
    ),
    "nesterov": (
        "nesterov { lr = 0.05, momentum = 0.9, decay = 0.01, velocity = outside, steps = 1 }",
        lambda w: torch.optim.SGD(w, 0.05, momentum=0.9, weight_decay=0.01, nesterov=True),
        None,
    ),
    "nesterov, clipped": (
        "nesterov { lr = 0.05, momentum = 0.9, decay = 0, velocity = outside, clip = 0.5, steps = 1 }",
        lambda w: torch.optim.SGD(w, 0.05, momentum=0.9, nesterov=True),
        0.5,
    ),
    "adam": (
        "adam { lr = 0.01, decay = 0.01, epsilon = 1e-4, steps = 1 }",
        lambda w: torch.optim.Adam(w, 0.01, eps=1e-4, weight_decay=0.01),
        None,
    ),
    "adam with decay of weights, clipped": (
        "adam { lr = 0.01, beta1 = 0.8, beta2 = 0.9, epsilon = 1e-4, decay = 0.1, decay_by = weight, clip = 1 }",
        lambda w: torch.optim.AdamW(w, 0.01, betas=(0.8, 0.9), eps=1e-4, weight_decay=0.1),
        1.0,
    ),
}  # fmt: skip


def net(w: dict[str, Any], x: Any) -> Any:
    f = torch.nn.functional
    x = f.avg_pool2d(torch.tanh(f.conv2d(x, w["c1.weight"], w["c1.bias"])), 2)
    x = torch.tanh(f.conv2d(x, w["c2.weight"], w["c2.bias"]))
    return f.linear(x.flatten(1), w["out.weight"], w["out.bias"])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_weights_are_pytorchs(name: str) -> None:
    solver, optimiser, limit = OPTIMISERS[name]
    program = compile(from_source(Source("small.net", NET.format(solver=solver)), seed=1))
    weights = {n: torch.tensor(a, dtype=torch.float64, requires_grad=True) for n, a in program.weights.items()}
    first = {n: w.detach().numpy().copy() for n, w in weights.items()}
    theirs = optimiser(list(weights.values()))
    random = np.random.default_rng(0)
    norms = []
    for rate in RATES:
        images = random.normal(size=(8, 1, 12, 12)).astype(np.float32)
        labels = random.integers(0, 10, 8)
        program.step(images, labels, rate)
        theirs.zero_grad()
        scores = net(weights, torch.tensor(images, dtype=torch.float64))
        torch.nn.functional.cross_entropy(scores, torch.tensor(labels)).backward()
        for group in theirs.param_groups:
            group["lr"] = rate * theirs.defaults["lr"]
        norms.append(float(torch.nn.utils.clip_grad_norm_(weights.values(), limit or 1e9)))
        theirs.step()
    assert limit is None or limit < max(norms)
    for n, w in weights.items():
        moved = np.abs(w.detach().numpy() - first[n]).max()
        np.testing.assert_allclose(program.weights[n], w.detach().numpy(), rtol=0, atol=2e-5 * moved + 1e-6, err_msg=n)
    program.close()


def test_a_limit_above_all_norms_changes_nothing() -> None:
    found = []
    for clip in ("", "clip = 1000, "):
        spec = from_source(Source("small.net", NET.format(solver=f"sgd {{ lr = 0.05, {clip}steps = 1 }}")), seed=1)
        program = compile(spec)
        random = np.random.default_rng(0)
        for _ in range(3):
            program.step(random.normal(size=(8, 1, 12, 12)).astype(np.float32), random.integers(0, 10, 8))
        found.append({name: array.copy() for name, array in program.weights.items()})
        program.close()
    # Clipped gradients are written, others may go into the weights at once: sums and updates may be rounded otherwise.
    for name, array in found[0].items():
        np.testing.assert_allclose(array, found[1][name], rtol=1e-5, atol=1e-7)
