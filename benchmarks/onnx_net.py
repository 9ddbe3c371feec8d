"""A net that predicts, as an ONNX model made from its graph: what AlexNet has of ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper

from alexdsl.ir.graph import Graph, Op
from benchmarks.net import Floats, Untranslatable, check_whole, groups, pads, parts

OPSET, IR = 17, 8


class Maker:
    """Writes the nodes and their constants."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], output: str, **attrs: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attrs))

    def reshape(self, source: str, shape: tuple[int, ...], output: str) -> None:
        self.constants.append(helper.make_tensor(f"{output}.shape", TensorProto.INT64, [len(shape)], shape))
        self.node("Reshape", [source, f"{output}.shape"], output)


def translate(graph: Graph, arrays: Mapping[str, Floats]) -> bytes:
    """The serialised model of a shaped graph, from ``image`` to its one output. Raises Untranslatable."""
    maker, given = Maker(graph), []
    for op in graph:
        if op.kind == "parameter":
            maker.constants.append(numpy_helper.from_array(arrays[op.name], op.name))
        elif op.kind == "input" and op.attrs["field"] == "image":
            given.append(helper.make_tensor_value_info(op.name, TensorProto.FLOAT, graph.type(op.name).shape))
        elif op.kind in NODES:
            NODES[op.kind](maker, op)
        else:
            raise Untranslatable(f"{op.name}: the ONNX net has no '{op.kind}'")
    (output,) = graph.outputs.values()
    found = [helper.make_tensor_value_info(output, TensorProto.FLOAT, graph.type(output).shape)]
    net = helper.make_graph(maker.nodes, "net", given, found, maker.constants)
    model = helper.make_model(net, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _conv(make: Maker, op: Op) -> None:
    rows, columns = pads(make.graph, op)
    a = op.attrs
    make.node(
        "Conv", list(op.operands), op.name, kernel_shape=a["kernel"], strides=a["stride"], dilations=a["dilation"],
        pads=[rows, columns, rows, columns], group=groups(make.graph, op),
    )  # fmt: skip


def _linear(make: Maker, op: Op) -> None:
    check_whole(make.graph, op)
    x, *weights = op.operands
    if len(make.graph.type(x).shape) > 2:
        make.node("Flatten", [x], f"{op.name}.rows", axis=1)
        x = f"{op.name}.rows"
    make.node("Gemm", [x, *weights], op.name, transB=1)


def _lrn(make: Maker, op: Op) -> None:
    a, (x,), shape, towers = op.attrs, op.operands, make.graph.type(op.name).shape, parts(op)
    # ONNX divides alpha by the size, as under per = mean.
    alpha = a["alpha"] * (a["size"] if a["per"] == "sum" else 1)
    if towers > 1:
        make.reshape(x, (shape[0] * towers, shape[1] // towers, *shape[2:]), f"{op.name}.towers")
        x = f"{op.name}.towers"
    y = f"{op.name}.each" if towers > 1 else op.name
    make.node("LRN", [x], y, size=a["size"], alpha=alpha, beta=a["beta"], bias=a["k"])
    if towers > 1:
        make.reshape(y, shape, op.name)


def _maxpool(make: Maker, op: Op) -> None:
    rows, columns = pads(make.graph, op)
    a = op.attrs
    make.node(
        "MaxPool", list(op.operands), op.name, kernel_shape=a["kernel"], strides=a["stride"] or a["kernel"],
        pads=[rows, columns, rows, columns], ceil_mode=int(a["round"] == "ceil"),
    )  # fmt: skip


NODES: Mapping[str, Callable[[Maker, Op], None]] = {
    "conv": _conv,
    "linear": _linear,
    "relu": lambda make, op: make.node("Relu", list(op.operands), op.name),
    "lrn": _lrn,
    "maxpool": _maxpool,
}
