"""Fused ops and towers mean what their members and parts mean; the interpreter reads and replaces leaves."""

from __future__ import annotations

import numpy as np
import pytest

from alexdsl.ir.graph import Graph, Op, Result, prune
from alexdsl.ir.interpreter import interpret
from alexdsl.ir.protocol import ShapeError
from alexdsl.ir.semantics import Semantics, fuse_ops, steps
from alexdsl.ir.types import TensorType, f32
from tests.pipeline.nets import REGISTRY

SEMANTICS = Semantics(REGISTRY)
POOL = {"kernel": (2, 2), "stride": None, "pad": (0, 0, 0, 0), "round": None}


def _op(kind: str, operands: str, results: str, **attrs: object) -> Op:
    return Op(kind, tuple(operands.split()), tuple(Result(name) for name in results.split()), attrs, layer="l")


CHAIN = (
    _op("relu", "x", "a"),
    _op("add", "a other", "b"),
    _op("maxpool", "b", "c index", **POOL),
    _op("tanh", "c", "d"),
)


def _values() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.normal(size=(2, 3, 4, 4)), random.normal(size=(2, 3, 4, 4))


def test_a_fused_op_is_its_members_in_order() -> None:
    x, other = _values()
    fused = fuse_ops(CHAIN, ["index", "a"], REGISTRY)
    assert (fused.kind, fused.operands) == ("relu+add+maxpool+tanh", ("x", "other"))
    assert [r.name for r in fused.results] == ["a", "index", "d"]
    a = SEMANTICS.reference("relu", [x], {})[0]
    c, index = SEMANTICS.reference("maxpool", [a + other], POOL)
    found = SEMANTICS.reference(fused.kind, [x, other], fused.attrs)
    for ours, theirs in zip(found, (a, index, np.tanh(c)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    types = SEMANTICS.infer(fused.kind, [f32(*x.shape)] * 2, fused.attrs)
    assert [t.shape for t in types] == [v.shape for v in found]
    assert [s.kind for s in steps(fused.attrs)] == ["relu", "add", "maxpool", "tanh"]


def test_a_fused_op_costs_what_its_members_cost() -> None:
    attrs = {"units": 3, "bias": False}
    fused = fuse_ops([_op("linear", "x w", "y", **attrs), _op("relu", "y", "z")], [], REGISTRY)
    types = [f32(2, 5), f32(3, 5)]
    assert (
        SEMANTICS.multiply_adds(fused.kind, types, fused.attrs) == 30 == SEMANTICS.multiply_adds("linear", types, attrs)
    )


def test_sums_of_weights_are_shared_by_rows() -> None:
    types = [f32(4, 3)] * 2
    with pytest.raises(ShapeError, match="cannot share equally"):
        SEMANTICS.infer("sum", types, {"towers": 2})
    assert SEMANTICS.infer("sum", types, {"towers": 2, "cut": 0}) == types[:1]
    a, b = np.arange(12.0).reshape(4, 3), np.ones((4, 3))
    np.testing.assert_array_equal(SEMANTICS.reference("sum", [a, b], {"towers": 2, "cut": 0})[0], a + b)


@pytest.mark.parametrize("operands", ["w v g", "w v", "w v g w v r", "w v h r", "w v g w v h r", "w v g w"])
def test_an_update_takes_three_of_a_shape_for_each_parameter_and_the_rate(operands: str) -> None:
    types = {"w": f32(4, 3), "v": f32(4, 3), "g": f32(4, 3), "h": f32(3, 4), "r": f32()}
    assert SEMANTICS.infer("sgd", [types[name] for name in "wvgwvgr"], {}) == [types[name] for name in "wvwv"]
    with pytest.raises(ShapeError, match="takes weight, velocity and gradient of each"):
        SEMANTICS.infer("sgd", [types[name] for name in operands.split()], {})


def test_unknown_kinds_are_no_kinds() -> None:
    with pytest.raises(KeyError):
        SEMANTICS.kinds("conv+nonsense")


def _leaf(kind: str, name: str, shape: tuple[int, ...], **attrs: object) -> Op:
    return Op(kind, (), (Result(name, TensorType("f32", shape)),), attrs)


def test_the_interpreter_cuts_leaves_and_joins_their_updates() -> None:
    ops = [Op("input", (), (Result("rate", f32()),), {"field": "rate"})]
    for t in (1, 0):
        shares = {"towers": 2, "tower": t}
        ops += [
            _leaf("parameter", f"w.{t}", (2,), of="w", **shares),
            _leaf("state", f"v.{t}", (2,), of="v", **shares),
            Op(
                "sgd", (f"w.{t}", f"v.{t}", f"w.{t}", "rate"), (Result(f"w.{t}.new"), Result(f"v.{t}.new")),
                {"lr": 1.0, "decay": 0.0, "momentum": 0.0, "velocity": "inside"},
            ),
        ]  # fmt: skip
    graph = Graph("g", "placed", tuple(ops))
    w = np.arange(4.0)
    outcome = interpret(graph, REGISTRY, {"rate": np.asarray(0.5), "w": w, "v": np.ones(4)})
    np.testing.assert_array_equal(outcome.updates["w"], w / 2)
    np.testing.assert_array_equal(outcome.updates["v"], -w / 2)
    with pytest.raises(KeyError, match="v"):
        interpret(graph, REGISTRY, {"rate": np.asarray(0.5), "w": w})


def test_state_that_layers_share_ends_as_the_last_left_it() -> None:
    bn = {"momentum": 0.5, "epsilon": 0.0, "stats": "batch", "over": None}
    leaves = [_leaf("parameter", n, (1,)) for n in ("w", "b")] + [_leaf("state", n, (1,)) for n in ("m", "v")]
    image = Op("input", (), (Result("x", f32(2, 1)),), {"field": "image"})
    first = _op("batch_norm", "x w b m v", "y p q m.1 v.1", **bn)
    second = _op("batch_norm", "y w b m.1 v.1", "z r s m.2 v.2", **bn)
    graph = Graph("g", "shaped", (image, *leaves, first, second))
    given = {"image": np.array([[1.0], [3.0]]), "w": np.ones(1), "b": np.zeros(1), "m": np.zeros(1), "v": np.ones(1)}
    assert interpret(graph, REGISTRY, given).updates["m"] == 0.5
    assert set(interpret(graph, REGISTRY, given).updates) == {"m", "v"}


def test_pruning_keeps_what_outputs_need() -> None:
    ops = (_leaf("parameter", "w", (2,)), _op("relu", "w", "a"), _op("tanh", "w", "b"))
    assert [op.name for op in prune(Graph("g", "parsed", ops, {"loss": "a"}))] == ["w", "a"]


def test_untyped_values_say_so() -> None:
    with pytest.raises(ValueError, match="%a has no type at stage 'parsed'"):
        Graph("g", "parsed", (_op("relu", "x", "a"),)).type("a")
