"""A miniature of the paper's net, two towers on two devices, trained on the CPU backend and on a CUDA device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from alexdsl.ir.protocol import Array
from alexdsl.language import Source
from alexdsl.program import compile
from alexdsl.spec import from_source

NET = """
net miniature
data d { source = sample("fashion"), batch = 4 }
default conv, linear { weight = normal(0.1), bias = 0 }
input image [3, 35, 35]
group tower(2) {
    conv1 = conv(8, kernel=11, stride=4)            | relu | lrn(alpha=0.01) | maxpool(3, stride=2)
    conv2 = conv(16, kernel=5, pad=2, bias=1)       | relu | lrn(alpha=0.01)
    conv3 = conv(16, kernel=3, pad=1, sees=all)     | relu
    conv4 = conv(16, kernel=3, pad=1, bias=1)       | relu
    conv5 = conv(8, kernel=3, pad=1, bias=1)        | relu | maxpool(3)
    fc6   = linear(20, sees=all, bias=1)            | relu | dropout(0.5)
    fc7   = linear(12, sees=all, bias=1)            | relu | dropout(0.5, scale=test)
}
fc8  = linear(10)
loss = softmax_cross_entropy(fc8, label)
report top1(fc8), top5(fc8)
place tower over gpu0, gpu1
solver sgd { lr = 0.05, momentum = 0.9, decay = 0.01, epochs = 1, bias { lr = 2x, decay = 0 } }
"""


@dataclass(frozen=True)
class Trained:
    """What some steps leave behind: metrics of each, weights, and the scores of the last batch."""

    metrics: list[dict[str, float]]
    weights: Mapping[str, Array]
    scores: Array


def trained(backend: str, device: str | Mapping[str, str], steps: int, net: str = NET) -> Trained:
    """The miniature after so many steps on random images."""
    program = compile(from_source(Source("miniature.net", net)), backend, device=device, threads=2)
    random = np.random.default_rng(7)
    metrics = []
    for _ in range(steps):
        images = random.normal(size=(4, 3, 35, 35)).astype(np.float32)
        metrics.append(program.step(images, random.integers(0, 10, 4)))
    found = Trained(metrics, dict(program.weights), program.predict(images))
    program.close()
    return found


def assert_same(found: Trained, expected: Trained, tolerance: float = 1e-5) -> None:
    """Metrics, weights and scores agree, each array by its norm."""
    for ours, theirs in zip(found.metrics, expected.metrics, strict=True):
        assert ours.keys() == theirs.keys()
        np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=tolerance, atol=tolerance)
    for name, array in {**expected.weights, "scores": expected.scores}.items():
        mine = found.scores if name == "scores" else found.weights[name]
        error = np.linalg.norm(mine.astype(np.float64) - array)
        assert error <= tolerance * np.linalg.norm(array), f"{name}: {error / np.linalg.norm(array):.2g}"
