"""A watched step is the same step, on every backend, and sees what an interpreter of the graph would."""

from __future__ import annotations

import numpy as np
import pytest

from alexdsl import compile
from alexdsl.ir.graph import Op
from alexdsl.language import Source
from alexdsl.spec import from_source
from alexdsl.train.watch import Watch

NET = """input image [3, 12, 12]
group tower(2) {
    conv1 = conv(8, kernel=3, pad=1, weight=he) | relu | lrn | maxpool(2)
    fc2   = linear(8, sees=all, bias=-100) | relu | dropout
}
out  = linear(4)
loss = softmax_cross_entropy(out, label)
place tower over gpu0, gpu1
solver sgd { lr = 0.01 }
"""


@pytest.mark.parametrize(("backend", "device"), [("cpu", "cpu"), ("cuda", "emu")])
def test_a_watched_step_is_the_same_step(backend: str, device: str) -> None:
    random = np.random.default_rng(0)
    images, labels = random.normal(size=(4, 3, 12, 12)).astype(np.float32), np.array([0, 1, 2, 3])
    found = []
    for watched in (False, True):
        program = compile(from_source(Source("net.net", NET)), backend, batch=4, device=device)
        for step in (1, 2):
            program.feed(images, labels)
            watch = Watch(program, step) if watched else None
            program.start(1.0, watch.seen if watch else None)
            look = watch.done() if watch else None
        found.append({name: program.weights[name] for name in program.weights} | {"loss": program.metrics()["loss"]})
        program.close()
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])
    assert look is not None
    assert not look.broken
    assert list(look.layers) == ["conv1", "fc2", "out"]
    assert (look.layers["fc2"].dead, look.layers["fc2"].units) == (8, 8)
    assert (look.layers["conv1"].dead, look.layers["conv1"].units) == (0, 8)
    assert [layer.place.split(":")[1] for layer in look.layers.values()] == ["3", "4", "6"]
    assert look.layers["conv1"].gradient == 0  # nothing comes back through dead relus
    assert look.layers["out"].rate == 0.01


def test_figures_are_those_of_the_arrays() -> None:
    random = np.random.default_rng(1)
    images, labels = random.normal(size=(8, 3, 12, 12)).astype(np.float32), np.arange(8) % 4
    text = NET.replace(", bias=-100", "").replace(" | dropout", "")
    program = compile(from_source(Source("net.net", text)), batch=8)
    loss, gradients = program.gradients(images, labels)
    before = {name: program.weights[name] for name in program.weights}
    program.feed(images, labels)
    watch = Watch(program, 1)
    seen: list[Op] = []
    program.start(1.0, lambda op, executable: (seen.append(op), watch.seen(op, executable))[1])
    look = watch.done()
    assert program.metrics()["loss"] == pytest.approx(loss, rel=1e-6)
    for name, layer in look.layers.items():
        weight, gradient = before[f"{name}.weight"], gradients[f"{name}.weight"]
        parts = np.split(gradient, 2) if name != "out" else [gradient]
        assert layer.weight == pytest.approx(np.sqrt(np.mean(weight.astype(np.float64) ** 2)), rel=1e-6)
        assert layer.gradient == pytest.approx(
            max(np.sqrt(np.mean(p.astype(np.float64) ** 2)) for p in parts), rel=1e-5
        )
        update = program.weights[f"{name}.weight"].astype(np.float64) - weight
        assert layer.update == pytest.approx(np.sqrt(np.mean(update**2)), rel=1e-6)
    logits = program.graph("train").outputs["logits"]
    assert logits in {op.name for op in seen}
    program.close()
