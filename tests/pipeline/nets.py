"""Small specs on which the passes are tested, their graphs, and arrays to interpret them with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from alexdsl.ir.graph import Graph
from alexdsl.ir.protocol import Array
from alexdsl.language import Source, parse
from alexdsl.passes.bind import bind
from alexdsl.passes.infer import infer
from alexdsl.registry import registry

REGISTRY = registry()
SPECS = sorted((Path(__file__).parents[2] / "specs").glob("*.net"))

ALEXNET = """
net mini_alexnet
data d { source = sample("fashion"), batch = 3 }
default conv, linear { weight = normal(0.1), bias = 0 }
input image [3, 35, 35]
group tower(2) {
    conv1 = conv(4, kernel=11, stride=4)           | relu | lrn(alpha=0.1) | maxpool(3, stride=2)
    conv2 = conv(8, kernel=5, pad=2, bias=1)       | relu | lrn(alpha=0.1)
    conv3 = conv(8, kernel=3, pad=1, sees=all)     | relu
    conv4 = conv(8, kernel=3, pad=1, bias=1)       | relu
    conv5 = conv(4, kernel=3, pad=1, bias=1)       | relu | maxpool(3)
    fc6   = linear(10, sees=all, bias=1)           | relu | dropout(0.5)
    fc7   = linear(6, sees=all, bias=1)            | relu | dropout(0.5, scale=test)
}
fc8  = linear(5)
loss = softmax_cross_entropy(fc8, label)
report top1(fc8), topk(fc8, k=2)
place tower over gpu0, gpu1
solver sgd { lr = 0.1, momentum = 0.9, decay = 0.01, epochs = 1, bias { lr = 2x, decay = 0 } }
"""
RESNET = """
net mini_resnet
data d { source = sample("fashion"), batch = 4 }
default conv { bias = none }
input image [2, 9, 9]
def unit(maps, stride = 1) {
    main = in | conv(maps, kernel=3, stride=stride, pad=1, round=floor) | batch_norm | relu
              | conv(maps, kernel=3, pad=1) | batch_norm
    side = in | conv(maps, kernel=1, stride=stride, round=floor) | batch_norm(over = 2)
    add(main, side) | relu
}
stem = conv(3, kernel=3, pad=1) | batch_norm | relu
a = stem | unit(4, stride=2)
b = a | unit(4)
again = b | unit(4, share = b)
both = concat(b, again) | tanh | scale(0.5)
out = both | global_avgpool | linear(3)
aux = a | flatten | linear(3) | sigmoid
main_loss = softmax_cross_entropy(out, label)
aux_loss = softmax_cross_entropy(aux, label)
loss = add(main_loss, scale(aux_loss, 0.3))
report top1(out)
solver sgd { lr = 0.1, velocity = outside, epochs = 1, batch_norm { decay = 0 }, stem { lr = 0 } }
"""
LENET = """
net mini_lenet
data d { source = sample("fashion"), batch = 2 }
input image [1, 12, 12]
c1   = conv(4, kernel=3)  | tanh | avgpool(2)
c3   = conv(6, kernel=2)  | tanh | avgpool(2)
f6   = linear(7)          | sigmoid | dropout(0.3)
out  = linear(4)
loss = softmax_cross_entropy(out, label)
report top1(out)
solver sgd { lr = 0.05, epochs = 1 }
"""
SHARED = """
net shared_towers
data d { source = sample("fashion"), batch = 2 }
input image [3, 6, 6]
dim = image | scale(0.5)
def halves() { conv(6, kernel=3, pad=1) | relu }
group tower(3) {
    one = image | halves
    two = dim | halves(share = one)
    mix = add(one, two) | conv(6, kernel=1, sees=all)
    cat = concat(mix, one) | maxpool(2)
}
out = cat | linear(4)
loss = softmax_cross_entropy(out, label)
place tower over a, b, c
solver sgd { lr = 0.05, epochs = 1 }
"""
AWKWARD = {
    "shared_bn_towers": """
net shared_bn_towers
data d { source = sample("fashion"), batch = 3 }
input image [4, 6, 6]
def u() { conv(4, kernel=3, pad=1, bias=none) | batch_norm | relu }
dim = image | scale(0.5)
group tower(2) {
  one = image | u
  two = dim | u(share = one)
  s = add(one, two) | maxpool(2)
}
out = s | linear(3)
loss = softmax_cross_entropy(out, label)
place tower over a, b
solver sgd { lr = 0.1, epochs = 1 }
""",
    "all_frozen": """
net all_frozen
data d { source = sample("fashion"), batch = 3 }
input image [4, 6, 6]
out = image | linear(3)
loss = softmax_cross_entropy(out, label)
solver sgd { lr = 0, epochs = 1 }
""",
    "loss_only_scaled": """
net loss_only_scaled
data d { source = sample("fashion"), batch = 3 }
input image [4, 6, 6]
a = image | linear(3)
l1 = softmax_cross_entropy(a, label)
loss = add(l1, l1 | scale(2), scale(l1, 0.5))
solver sgd { lr = 0.1, epochs = 1 }
""",
    "unused": """
net unused
data d { source = sample("fashion"), batch = 3 }
input image [4, 6, 6]
b = image | linear(4) | relu
a = image | linear(3)
loss = softmax_cross_entropy(a, label)
report top1(b | linear(3))
solver sgd { lr = 0.1, epochs = 1 }
""",
    "place": """
net place
data d { source = sample("fashion"), batch = 3 }
input image [4, 6, 6]
b = image | linear(4) | relu
a = b | linear(3) | batch_norm | dropout(0.5)
c = add(a, b | linear(3))
loss = softmax_cross_entropy(c, label)
place b on x
place a on y
place c on x
solver sgd { lr = 0.1, epochs = 1 }
""",
}
"""Nets at the edges of what specs may say."""
ADAM = ALEXNET.replace("sgd { lr = 0.1, momentum = 0.9,", "adam { lr = 0.1, clip = 0.5,")
NETS = {"alexnet": ALEXNET, "adam": ADAM, "resnet": RESNET, "lenet": LENET, "shared": SHARED, **AWKWARD}


def bound(text: str, name: str = "test.net", classes: int = 10) -> Graph:
    """The parsed graph of a spec's text."""
    return bind(parse(Source(name, text)), REGISTRY, ask=lambda _: classes).graph


def on_one_device(graph: Graph) -> Graph:
    """The same net without its ``place`` statements."""
    return graph.with_ops(
        [op.with_attrs(place=...) for op in graph], attrs={**graph.attrs, "devices": (graph.attrs["devices"][0],)}
    )


def arrays(graph: Graph, seed: int = 0) -> Mapping[str, Array]:
    """Float64 arrays for the inputs, weights and state of a parsed graph."""
    random = np.random.default_rng(seed)
    shaped = infer(graph, REGISTRY)
    given: dict[str, Array] = {"step": np.asarray(5), "rate": np.asarray(0.5)}
    for op in shaped:
        if op.kind == "input" and op.attrs["field"] == "label":
            given["label"] = random.integers(0, 3, shaped.type(op.name).shape).astype(np.int32)
        elif op.kind == "input" and op.attrs["field"] == "image":
            given["image"] = random.normal(size=shaped.type(op.name).shape)
        elif op.kind == "parameter":
            given[op.name] = random.normal(0, 0.4, shaped.type(op.name).shape)
            for role in REGISTRY.solvers[graph.attrs["solver"]].states:
                # What can be a square, too.
                given[f"{op.name}.{role}"] = np.abs(random.normal(0, 0.1, shaped.type(op.name).shape))
        elif op.kind == "state":
            given[op.name] = random.uniform(0.5, 1.5, shaped.type(op.name).shape)
    return given
