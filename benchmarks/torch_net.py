"""A net in PyTorch, made from its graph: for each op the call that a user of PyTorch writes, as plain Python code."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as f

from alexdsl.ir.graph import Graph, Op
from alexdsl.registry import registry
from benchmarks.net import Floats, Untranslatable, check_whole, groups, pads, parts

Translate = Callable[["Maker", Op, Sequence[fx.Node]], fx.Node]


class Maker:
    """Writes the calls; ``tower_edges``: LRN ends where a tower does, else it runs across as in most of PyTorch's
    AlexNets."""

    def __init__(self, graph: Graph, tower_edges: bool) -> None:
        self.graph, self.tower_edges, self.code = graph, tower_edges, fx.Graph()

    def call(self, function: Callable[..., Any], *args: Any, **attrs: Any) -> fx.Node:
        return self.code.call_function(function, args, attrs)

    def alone(self, op: Op) -> bool:
        """Whether nobody else, be it for gradients, needs the operand, so that the result can take its place."""
        (name,) = op.operands
        maker = self.graph.producers[name]
        reads = "output" in getattr(registry()[maker.kind], "needs", ()) or maker.kind == "input"
        return self.graph.users[name] == [op] and not reads


def translate(graph: Graph, arrays: Mapping[str, Floats], *, tower_edges: bool) -> fx.GraphModule:
    """The module of a shaped graph with one output, its weights sharing the arrays' memory.

    Called with images [N, C, H, W], and with labels [N] where the output is the loss. Raises Untranslatable.
    """
    maker, root, nodes = Maker(graph, tower_edges), nn.Module(), {}
    for op in graph:
        if op.kind == "parameter":
            root.register_parameter(attribute(op), nn.Parameter(torch.from_numpy(arrays[op.name])))
            nodes[op.name] = maker.code.get_attr(attribute(op))
        elif op.kind == "state":
            root.register_buffer(attribute(op), torch.from_numpy(arrays[op.name]))
            nodes[op.name] = maker.code.get_attr(attribute(op))
        elif op.kind == "input":
            if op.attrs["field"] in ("image", "label"):
                nodes[op.name] = maker.code.placeholder(op.attrs["field"])
        elif op.kind in CALLS:
            nodes[op.name] = CALLS[op.kind](maker, op, [nodes[name] for name in op.operands if name in nodes])
        else:
            raise Untranslatable(f"{op.name}: PyTorch's net has no '{op.kind}'")
    (output,) = graph.outputs.values()
    maker.code.output(nodes[output])
    return fx.GraphModule(root, maker.code)


def attribute(op: Op) -> str:
    """A weight's name in the module."""
    return op.name.replace(".", "__")


def solver(graph: Graph, net: nn.Module) -> torch.optim.SGD:
    """The spec's solver, with every weight's own rate and decay."""
    kinds: dict[tuple[float, float, float], list[nn.Parameter]] = {}
    for op in graph:
        if op.kind == "parameter":
            key = op.attrs["lr"], op.attrs["momentum"], op.attrs["decay"]
            kinds.setdefault(key, []).append(net.get_parameter(attribute(op)))
    settings = ({"lr": lr, "momentum": m, "weight_decay": d, "params": ps} for (lr, m, d), ps in kinds.items())
    return torch.optim.SGD(list(settings))


def _conv(make: Maker, op: Op, args: Sequence[fx.Node]) -> fx.Node:
    a = op.attrs
    more = {"padding": pads(make.graph, op), "groups": groups(make.graph, op), "dilation": tuple(a["dilation"])}
    return make.call(f.conv2d, *args, stride=tuple(a["stride"]), **more)


def _linear(make: Maker, op: Op, args: Sequence[fx.Node]) -> fx.Node:
    check_whole(make.graph, op)
    x, *weights = args
    if len(make.graph.type(op.operands[0]).shape) > 2:
        x = make.call(torch.flatten, x, 1)
    return make.call(f.linear, x, *weights)


def _relu(make: Maker, op: Op, args: Sequence[fx.Node]) -> fx.Node:
    return make.call(f.relu, *args, inplace=make.alone(op))


def _lrn(make: Maker, op: Op, args: Sequence[fx.Node]) -> fx.Node:
    a, (x,), shape = op.attrs, args, make.graph.type(op.name).shape
    towers = parts(op) if make.tower_edges else 1
    if towers > 1:
        x = make.call(torch.reshape, x, (shape[0] * towers, shape[1] // towers, *shape[2:]))
    # PyTorch divides alpha by the size, as under per = mean.
    alpha = a["alpha"] * (a["size"] if a["per"] == "sum" else 1)
    y = make.call(f.local_response_norm, x, a["size"], alpha=alpha, beta=a["beta"], k=a["k"])
    return make.call(torch.reshape, y, shape) if towers > 1 else y


def _pool(function: Callable[..., Any], make: Maker, op: Op, args: Sequence[fx.Node], **more: Any) -> fx.Node:
    kernel, stride = tuple(op.attrs["kernel"]), tuple(op.attrs["stride"] or op.attrs["kernel"])
    ceil = op.attrs["round"] == "ceil"
    return make.call(function, *args, kernel, stride, pads(make.graph, op), ceil_mode=ceil, **more)


def _maxpool(make: Maker, op: Op, args: Sequence[fx.Node]) -> fx.Node:
    return _pool(f.max_pool2d, make, op, args)


def _avgpool(make: Maker, op: Op, args: Sequence[fx.Node]) -> fx.Node:
    return _pool(f.avg_pool2d, make, op, args, count_include_pad=op.attrs["count"] == "padded")


def _batch_norm(make: Maker, op: Op, args: Sequence[fx.Node]) -> fx.Node:
    a, (x, weight, bias, mean, variance) = op.attrs, args
    if a["over"] is not None:
        raise Untranslatable(f"{op.name}: statistics of a part of the batch")
    more = {"training": a["stats"] == "batch", "momentum": 1 - a["momentum"], "eps": a["epsilon"]}
    return make.call(f.batch_norm, x, mean, variance, weight, bias, **more)


def _concat(make: Maker, op: Op, args: Sequence[fx.Node]) -> fx.Node:
    if op.attrs.get("towers", 1) > 1:
        raise Untranslatable(f"{op.name}: towers joined each by itself")
    return make.call(torch.cat, list(args), 1)


def _dropout(make: Maker, op: Op, args: Sequence[fx.Node]) -> fx.Node:
    y = make.call(f.dropout, args[0], op.attrs["p"], training=True)
    return y if op.attrs["scale"] == "train" else make.call(operator.mul, y, 1 - op.attrs["p"])


CALLS: Mapping[str, Translate] = {
    "conv": _conv,
    "linear": _linear,
    "relu": _relu,
    "tanh": lambda make, op, args: make.call(torch.tanh, *args),
    "sigmoid": lambda make, op, args: make.call(torch.sigmoid, *args),
    "lrn": _lrn,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "global_avgpool": lambda make, op, args: make.call(torch.mean, args[0], (2, 3)),
    "batch_norm": _batch_norm,
    "add": lambda make, op, args: reduce(lambda a, b: make.call(operator.add, a, b), args),
    "scale": lambda make, op, args: make.call(operator.mul, args[0], op.attrs["factor"]),
    "concat": _concat,
    "flatten": lambda make, op, args: make.call(torch.flatten, args[0], 1),
    "dropout": _dropout,
    "softmax_cross_entropy": lambda make, op, args: make.call(f.cross_entropy, *args),
}
