"""Every pass keeps what the net computes: the reference interpreter agrees before and after, in double precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from alexdsl.ir.graph import Graph, Op, Result, prune
from alexdsl.ir.interpreter import Outcome, interpret
from alexdsl.ir.protocol import Array, ShapeError
from alexdsl.ir.verify import verify
from alexdsl.passes.fuse import fuse
from alexdsl.passes.pipeline import PIPELINE, Options, at_stage, run_passes
from alexdsl.passes.save import save
from tests.pipeline.example_backend import ExampleBackend
from tests.pipeline.nets import AWKWARD, NETS, REGISTRY, arrays, bound, on_one_device

MODES = ("train", "gradients", "predict")


def _options(mode: str = "train", **given: object) -> Options:
    return Options(REGISTRY, ExampleBackend(), mode, **given)


def _outcomes(graph: Graph, given: Mapping[str, Array], options: Options) -> Iterator[tuple[str, Graph, Outcome]]:
    for name, stage in run_passes(graph, options):
        if stage.stage != "parsed":
            yield name, stage, interpret(stage, REGISTRY, given)


def _agree(ours: Mapping[str, Array], theirs: Mapping[str, Array], where: str) -> None:
    for name in set(ours) & set(theirs):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-11, atol=1e-13, err_msg=f"{name} after {where}")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("net", NETS)
def test_passes_keep_outputs_gradients_and_updates(net: str, mode: str) -> None:
    graph = bound(NETS[net])
    given = arrays(graph)
    outputs: dict[str, Array] = {}
    updates: dict[str, Array] = {}
    for name, stage, outcome in _outcomes(graph, given, _options(mode)):
        _agree(outcome.outputs, outputs, name)
        _agree(outcome.updates, updates, name)
        outputs |= outcome.outputs
        updates |= outcome.updates
        assert set(stage.outputs) >= set(graph.outputs)
    above_loss = prune(graph.with_ops(graph.ops, outputs={"loss": graph.outputs["loss"]}))
    trained = [op for op in above_loss if op.kind == "parameter" and op.attrs["lr"]]
    if mode == "gradients":
        assert {f"{op.name}.grad" for op in trained} <= set(outputs)
    if mode == "train":
        kept = ("", *(f".{state}" for state in REGISTRY.solvers[graph.attrs["solver"]].states))
        assert {f"{op.name}{role}" for op in trained for role in kept} <= set(updates)
        assert not any(np.array_equal(updates[op.name], given[op.name]) for op in trained)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("net", ["alexnet", "adam", "shared", "shared_bn_towers"])
def test_one_device_computes_the_same_bits_as_many(net: str, mode: str) -> None:
    graph = bound(NETS[net])
    given = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in arrays(graph).items()}
    many = interpret(at_stage(graph, _options(mode), "program"), REGISTRY, given)
    one = interpret(at_stage(on_one_device(graph), _options(mode), "program"), REGISTRY, given)
    assert set(many.outputs) == set(one.outputs)
    for name, value in many.outputs.items():
        np.testing.assert_array_equal(value, one.outputs[name], err_msg=name)
    for name, value in many.updates.items():
        np.testing.assert_array_equal(value, one.updates[name], err_msg=name)


def test_copies_carry_what_the_paper_says_and_no_more() -> None:
    """Towers meet at conv3, fc6 and fc7: each sends its half there, and gets its half's gradient back."""
    placed = at_stage(bound(NETS["alexnet"]), _options(), "placed")
    sent = [op.operands[0].split(".slice")[0] for op in placed if op.kind == "copy" and op.attrs["source"] != op.device]
    met = ["conv2.lrn", "conv5.maxpool", "fc6.dropout"]
    forward = ["image.fetched", *(f"{name}.{t}" for name in met for t in (1, 0)), "fc7.dropout.1"]
    backward = ["fc7.dropout.grad", *(f"{name}.grad.{t}" for name in reversed(met) for t in (1, 0))]
    assert sent == forward + backward
    for op in placed:
        if op.kind == "copy":
            assert op.attrs["bytes"] == placed.type(op.name).bytes
            fetches = placed.producers[op.operands[0]].kind == "input"
            assert (op.attrs["source"] == op.device) == fetches


@pytest.mark.parametrize("net", NETS)
def test_gradients_are_the_loss_slope(net: str) -> None:
    graph = bound(NETS[net])
    given = dict(arrays(graph))
    stage = at_stage(graph, _options("gradients"), "differentiated")
    found = interpret(stage, REGISTRY, given).outputs
    trained = [name.removesuffix(".grad") for name in found if name.endswith(".grad")]
    random = np.random.default_rng(3)
    along = {name: random.normal(size=given[name].shape) for name in trained}
    step = 1e-6
    ends = [
        interpret(stage, REGISTRY, {**given, **{n: given[n] + sign * step * along[n] for n in trained}}).outputs["loss"]
        for sign in (1, -1)
    ]
    slope = sum((found[f"{n}.grad"] * along[n]).sum() for n in trained)
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), slope, rtol=1e-5)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("mode", ["train", "gradients"])
def test_recomputing_gives_the_same_numbers_in_no_more_memory(net: str, mode: str) -> None:
    graph = bound(NETS[net])
    given = arrays(graph)
    stored, again = (at_stage(graph, _options(mode, save=policy), "program") for policy in ("store", "recompute"))
    a, b = (interpret(g, REGISTRY, given) for g in (stored, again))
    for name, value in {**a.outputs, **a.updates}.items():
        np.testing.assert_array_equal(value, {**b.outputs, **b.updates}[name])
    if net not in AWKWARD:
        for device, size in stored.attrs["arenas"].items():
            assert again.attrs["arenas"][device] <= size
    if net == "shared":
        assert sum(again.attrs["arenas"].values()) < sum(stored.attrs["arenas"].values())


def test_there_are_two_policies_of_saving() -> None:
    with pytest.raises(ValueError, match="no policy 'forget'"):
        save(at_stage(bound(NETS["lenet"]), _options(), "differentiated"), REGISTRY, "forget")


def test_state_that_two_layers_share_goes_from_use_to_use() -> None:
    graph = bound(NETS["resnet"])
    shaped = at_stage(graph, _options(), "shaped")
    first, second = (op for op in shaped if op.kind == "batch_norm" and "b.unit.main.batch_norm.weight" in op.operands)
    assert first.operands[3] == "b.unit.main.batch_norm.mean"
    assert second.operands[3:] == tuple(r.name for r in first.results[3:])
    given = arrays(graph)
    outcome = interpret(shaped, REGISTRY, given)
    np.testing.assert_array_equal(
        outcome.updates["b.unit.main.batch_norm.mean"], outcome.values[second.results[3].name]
    )


ACROSS = """
net across
data d {{ source = sample("fashion"), batch = 3 }}
input image [4, 6, 6]
def u() {{ conv(4, kernel=3, pad=1) | batch_norm | relu }}
one = image | u
{0}
two = one | u(share = one)
{1}
out = two | linear(3)
loss = softmax_cross_entropy(out, label)
solver sgd {{ lr = 0.1, epochs = 1 }}
"""


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("group tower(2) {", "}", "shares 'one.u.batch_norm.mean' across the edge of a group"),
        ("place one on x", "place two on y", "shares 'one.u.batch_norm.mean' with a layer on another device"),
    ],
)
def test_state_is_updated_where_it_lies(before: str, after: str, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        at_stage(bound(ACROSS.format(before, after)), _options(), "program")
    assert at_stage(bound(ACROSS.format("place one on x", "place two on x")), _options(), "program").ops


def test_frozen_layers_are_not_updated() -> None:
    updates = interpret(
        at_stage(bound(NETS["resnet"]), _options(), "program"), REGISTRY, arrays(bound(NETS["resnet"]))
    ).updates
    assert "stem.weight" not in updates
    assert "a.unit.main.weight" in updates


def test_without_dropout_training_keeps_every_element() -> None:
    graph = bound(NETS["alexnet"])
    kinds = {op.kind for op in at_stage(graph, _options(dropout=False), "differentiated")}
    assert "dropout" not in kinds
    assert "dropout_grad" not in kinds
    assert "sgd" in kinds


def test_updates_wait_for_a_reader_that_fusing_moved() -> None:
    """A gradient that reads a weight may stand later once it is fused with what follows; the update comes after it."""
    placed = at_stage(bound(NETS["lenet"]), _options(), "placed")
    position = {op.name: i for i, op in enumerate(placed.ops)}
    weight = "c3.weight"
    update = next(op for op in placed if op.kind == "sgd" and op.operands[0] == weight)
    reader = next(op for op in placed if op.kind == "conv_input_grad" and weight in op.operands)
    last = next(op for op in placed if reader.name in op.operands)
    early = [op for op in placed if op is not update]
    at = early.index(reader) + 1
    graph = placed.with_ops([*early[:at], update, *early[at:]])
    verify(graph, REGISTRY)
    assert position[last.name] > at - 1
    fused = fuse(graph, REGISTRY, _GluesAll())
    verify(fused, REGISTRY)
    order = [op.kind for op in fused if weight in op.operands]
    assert order[-1] == "conv_weight_grad+sgd"


class _GluesAll(ExampleBackend):
    """Fuses whatever it is offered."""

    def fuses(self, chain: object, keeps: bool) -> bool:
        return True


@pytest.mark.parametrize("net", NETS)
def test_any_fusion_that_a_backend_may_ask_for_is_sound(net: str) -> None:
    graph = bound(NETS[net])
    given = arrays(graph)
    placed = at_stage(graph, _options(), "placed")
    fused = fuse(placed, REGISTRY, _GluesAll())
    verify(fused, REGISTRY)
    a, b = (interpret(g, REGISTRY, given) for g in (placed, fused))
    for name, value in {**a.outputs, **a.updates}.items():
        np.testing.assert_array_equal(value, {**b.outputs, **b.updates}[name])
    assert len(fused.ops) < len(placed.ops)


def test_a_second_result_that_is_an_output_survives_fusing() -> None:
    placed = at_stage(bound(NETS["lenet"]), _options("predict"), "placed")
    pool = {"kernel": (2, 2), "stride": None, "pad": (0, 0, 0, 0), "round": None}
    x = Op("relu", ("image",), (Result("x", placed.type("image")),), {}, "device0")
    types = [
        r.type
        for op in at_stage(bound(NETS["alexnet"]), _options(), "shaped")
        if op.kind == "maxpool"
        for r in op.results
    ]
    assert types[1] is not None
    shape = placed.type("image").shape
    half = (*shape[:2], shape[2] // 2, shape[3] // 2)
    made = (Result("y", placed.type("image").with_shape(*half)), Result("index", types[1].with_shape(*half)))
    y = Op("maxpool", ("x",), made, pool, "device0")
    z = Op("tanh", ("y",), (Result("z", made[0].type),), {}, "device0")
    graph = placed.with_ops([*placed.ops, x, y, z], outputs={**placed.outputs, "z": "z", "index": "index"})
    verify(graph, REGISTRY)
    fused = fuse(graph, REGISTRY, _GluesAll())
    verify(fused, REGISTRY)
    assert "index" in fused.results


def test_the_pipeline_stops_before_the_next_stage() -> None:
    stages = [step.to for step in PIPELINE if step.to]
    assert stages == ["shaped", "differentiated", "placed", "fused", "laid-out", "scheduled", "program"]
    for stage in ("parsed", *stages):
        assert at_stage(bound(NETS["lenet"]), _options(), stage).stage == stage
