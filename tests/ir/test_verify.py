"""Each law of the verifier, broken once in a graph that was sound before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from alexdsl.ir.graph import Graph, Launch, Op, Result
from alexdsl.ir.types import TensorType, f32
from alexdsl.ir.verify import InvalidGraph, verify
from alexdsl.passes.pipeline import Options, run_passes
from tests.pipeline.example_backend import ExampleBackend
from tests.pipeline.nets import NETS, REGISTRY, bound


@cache
def _stages(net: str) -> dict[str, Graph]:
    return dict(run_passes(bound(NETS[net]), Options(REGISTRY, ExampleBackend())))


def _after(name: str, net: str = "lenet") -> Graph:
    return _stages(net)[name]


def _changed(graph: Graph, which: Callable[[Op], bool], **changes: Any) -> Graph:
    """The graph with its first op of a sort changed."""
    at = next(i for i, op in enumerate(graph.ops) if which(op))
    return graph.with_ops([*graph.ops[:at], replace(graph.ops[at], **changes), *graph.ops[at + 1 :]])


def _kind(name: str) -> Callable[[Op], bool]:
    return lambda op: op.kind == name


def _attrs(graph: Graph, kind: str, **changes: Any) -> Graph:
    op = next(op for op in graph if op.kind == kind)
    return _changed(graph, _kind(kind), attrs=op.with_attrs(**changes).attrs)


def _first(graph: Graph, kind: str) -> Op:
    return next(op for op in graph if op.kind == kind)


def _result(graph: Graph, kind: str, **changes: Any) -> Graph:
    first, *rest = _first(graph, kind).results
    return _changed(graph, _kind(kind), results=(replace(first, **changes), *rest))


def _with_reader(graph: Graph, name: str, at: int) -> Graph:
    """The graph with an op that reads a value at a place."""
    op = Op("relu", (name,), (Result("late", graph.type(name)),), {})
    return graph.with_ops([*graph.ops[:at], op, *graph.ops[at:]])


def _update(graph: Graph) -> int:
    return next(i for i, op in enumerate(graph.ops) if op.kind == "sgd")


BROKEN: dict[str, tuple[Callable[[], Graph], str]] = {
    "stage": (lambda: replace(_after("bind"), stage="cooked"), "no stage 'cooked'"),
    "order": (lambda: _after("infer").with_ops(_after("infer").ops[::-1]), "used before it is defined"),
    "twice": (lambda: _after("infer").with_ops(_after("infer").ops * 2), "defined twice"),
    "output": (lambda: replace(_after("infer"), outputs={"loss": "x"}), "output 'loss': %x is not defined"),
    "kind": (lambda: _changed(_after("infer"), _kind("tanh"), kind="tan"), "no op kind 'tan'"),
    "too soon": (lambda: replace(_after("solve"), stage="shaped"), "'constant' is legal from 'differentiated'"),
    "fused too soon": (lambda: _changed(_after("infer"), _kind("tanh"), kind="tanh+tanh"), "come with stage 'fused'"),
    "fused in place": (
        lambda: _changed(_after("fuse"), _kind("sgd"), kind="sgd+relu"),
        "'sgd' acts in place on what flows, and is not fused",
    ),
    "fused in place, and lost": (
        lambda: _attrs(_after("fuse", "resnet"), "batch_norm+relu", keep=("1.0",)),
        "'batch_norm' acts in place, and does not keep what it makes there",
    ),
    "towers": (lambda: _attrs(_after("place"), "avgpool", towers=2), "towers are cut before"),
    "no device": (lambda: _changed(_after("place"), _kind("tanh"), device=None), "have a device"),
    "device too soon": (lambda: _changed(_after("infer"), _kind("tanh"), device="device0"), "have a device"),
    "other device": (lambda: _changed(_after("place"), _kind("tanh"), device="moon"), "there is no device @moon"),
    "far away": (
        lambda: _changed(
            _after("place", "alexnet"), lambda op: op.device == "gpu1" and op.kind == "relu", device="gpu0"
        ),
        "is on @gpu1, and is read on @gpu0",
    ),
    "untyped": (lambda: _result(_after("infer"), "tanh", type=None), "has no type"),
    "layout too soon": (
        lambda: _result(_after("infer"), "tanh", type=TensorType("f32", (2, 4, 10, 10), "nhwc")),
        "layouts come with",
    ),
    "type": (
        lambda: _result(_after("infer"), "tanh", type=f32(2, 3)),
        r"its type is f32\[2,3\], by its rule f32\[2,4,10,10\]",
    ),
    "element type": (
        lambda: _result(_after("infer"), "tanh", type=TensorType("i32", (2, 4, 10, 10))),
        r"its type is i32.*by its rule f32",
    ),
    "operands": (lambda: _changed(_after("infer"), _kind("linear"), operands=()), "its rule refuses"),
    "attributes": (lambda: _changed(_after("infer"), _kind("avgpool"), attrs={}), "its rule refuses.*KeyError"),
    "shapes": (lambda: _attrs(_after("infer"), "avgpool", kernel=(99, 99)), "its rule refuses.*ShapeError"),
    "leaf": (lambda: _changed(_after("infer"), _kind("parameter"), operands=("image",)), "one result and no operands"),
    "layout": (
        lambda: _result(_after("layout"), "convert", type=TensorType("f32", (2, 1, 12, 12), "blocked")),
        "its layout is 'blocked'",
    ),
    "old weight": (
        lambda: _with_reader(
            _after("solve"), _after("solve").ops[_update(_after("solve"))].operands[0], len(_after("solve").ops)
        ),
        "was overwritten by",
    ),
    "no weight": (
        lambda: _changed(
            _after("solve"),
            _kind("sgd"),
            operands=(_first(_after("solve"), "sgd").operands[2], *_first(_after("solve"), "sgd").operands[1:]),
        ),
        "no weight or state",
    ),
    "old output": (
        lambda: replace(_after("solve"), outputs={"w": _first(_after("solve"), "sgd").operands[0]}),
        "output 'w': .* was overwritten",
    ),
    "unplaced": (lambda: _result(_after("memory"), "avgpool", offset=None), "has no place in the arena"),
    "beyond": (lambda: _result(_after("memory"), "avgpool", offset=64 * 10**6), "outside of its arena"),
    "before": (lambda: _result(_after("memory"), "avgpool", offset=-64), "outside of its arena"),
    "between": (lambda: _result(_after("memory"), "avgpool", offset=4), "between two lines"),
    "workspace": (
        lambda: _changed(
            _after("memory"), lambda op: "workspace" in op.attrs, attrs={**_scratched().attrs, "workspace_at": 10**9}
        ),
        "its workspace lies at",
    ),
    "no launches": (
        lambda: _changed(_after("lower"), _kind("avgpool"), launches=()),
        "all ops but leaves have launches",
    ),
    "a leaf's launch": (
        lambda: _changed(_after("lower"), _kind("parameter"), launches=(Launch("anything", ()),)),
        "all ops but leaves have launches",
    ),
    "kernel": (lambda: _changed(_after("lower"), _kind("avgpool"), launches=(Launch("no", ()),)), "no kernel 'no'"),
    "argument": (
        lambda: _changed(_after("lower"), _kind("avgpool"), launches=(Launch("anything", ("%loss",)),)),
        "which is no operand or result",
    ),
}


def _scratched() -> Op:
    return next(op for op in _after("memory") if "workspace" in op.attrs)


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_law_is_named(case: str) -> None:
    broken, message = BROKEN[case]
    with pytest.raises(InvalidGraph, match=message):
        verify(broken(), REGISTRY)


@pytest.mark.parametrize("net", NETS)
def test_sound_graphs_pass(net: str) -> None:
    for graph in _stages(net).values():
        verify(graph, REGISTRY)


def test_the_error_names_the_op_and_the_stage() -> None:
    with pytest.raises(InvalidGraph) as caught:
        verify(_changed(_after("infer"), _kind("tanh"), kind="tan"), REGISTRY)
    assert str(caught.value) == "%c1.tanh = tan at stage 'shaped': there is no op kind 'tan'"
