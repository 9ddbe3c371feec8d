"""Updates of small parameters are gathered into few ops that compute the same bits in no more memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.interpreter import interpret
from alexdsl.passes.gather import AT_ONCE, SMALL
from alexdsl.passes.memory import plan_memory
from alexdsl.passes.pipeline import Options, run_passes
from tests.pipeline.example_backend import ExampleBackend
from tests.pipeline.nets import NETS, REGISTRY, SPECS, arrays, bound

MANY = """
net many
data d {{ source = sample("fashion"), batch = 2 }}
default conv {{ weight = normal(0.1), bias = 0 }}
input image [4, 5, 5]
body = image {0}
out  = linear(body, 3000)
loss = softmax_cross_entropy(out, label)
solver sgd {{ lr = 0.1, decay = 0.01, epochs = 1{1} }}
"""
LAYERS = 12


def _many(*blocks: str) -> str:
    """A net of many small convolutions and a large linear layer, with blocks of rates for some parameters."""
    return MANY.format("| conv(4, kernel=3, pad=1) " * LAYERS, "".join(f", {block}" for block in blocks))


def _stages(text: str) -> Mapping[str, Graph]:
    return dict(run_passes(bound(text), Options(REGISTRY, ExampleBackend())))


def _updates(graph: Graph) -> list[Op]:
    return [op for op in graph if op.kind == "sgd"]


def _sizes(graph: Graph) -> list[int]:
    """How many parameters each update is for."""
    return [len(op.operands) // 3 for op in _updates(graph)]


@pytest.mark.parametrize("net", [*NETS, "many"])
def test_the_same_bits(net: str) -> None:
    stages = _stages(_many() if net == "many" else NETS[net])
    given = arrays(stages["bind"])
    given = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in given.items()}
    alone, together = (interpret(stages[name], REGISTRY, given) for name in ("schedule", "gather"))
    assert set(alone.updates) == set(together.updates)
    for name, value in {**alone.updates, **alone.outputs}.items():
        np.testing.assert_array_equal({**together.updates, **together.outputs}[name], value, err_msg=name)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_specs_have_fewer_updates(path: Path) -> None:
    stages = _stages(path.read_text(encoding="utf-8"))
    apart, together = (_sizes(stages[name]) for name in ("schedule", "gather"))
    assert sum(together) == len(apart) == sum(apart)
    assert len(together) <= 2 / 3 * len(apart)


@pytest.mark.parametrize("batch", [16, 32, 100, 256])
@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_no_batch_needs_more_memory(path: Path, batch: int) -> None:
    """In some of these, buffers would leave gaps if all gradients waited that may."""
    stages = _stages(re.sub(r"batch( *)= \d+", f"batch = {batch}", path.read_text(encoding="utf-8")))
    assert stages["bind"].attrs["batch"] == batch
    apart = plan_memory(stages["schedule"], REGISTRY)
    for device, size in stages["memory"].attrs["arenas"].items():
        assert size <= apart.attrs["arenas"][device]


def test_as_many_as_one_op_may_update() -> None:
    sizes = _sizes(_stages(_many())["gather"])
    # The linear layer's weight, and what the convolutions have with the linear layer's bias.
    assert sorted(sizes) == sorted([1, AT_ONCE, 2 * LAYERS + 1 - AT_ONCE])


def test_other_rates_are_other_updates() -> None:
    graph = _stages(_many("bias { lr = 2x, decay = 0 }"))["gather"]
    assert sorted(_sizes(graph)) == [1, LAYERS, LAYERS + 1]
    for op in _updates(graph):
        assert len({op.attrs["lr"] for op in map(graph.producers.__getitem__, op.operands[:-1:3])}) == 1


def test_large_parameters_are_updated_alone() -> None:
    graph = _stages(_many())["gather"]
    (large,) = [op for op in _updates(graph) if graph.type(op.name).elements >= SMALL]
    assert large.operands[0] == "out.weight"
    assert len(large.operands) == 4
    assert large.layer == "out.linear"


def test_every_device_updates_its_own() -> None:
    graph = _stages(NETS["alexnet"])["gather"]
    for op in _updates(graph):
        assert {graph.producers[name].device for name in op.operands} == {op.device}
    assert {op.device for op in _updates(graph) if len(op.operands) > 4} == set(graph.attrs["devices"])


def test_an_update_of_several_shows_with_each_of_their_layers() -> None:
    graph = _stages(_many())["gather"]
    gathered = next(op for op in _updates(graph) if len(op.operands) > 4)
    assert gathered.layer == ""
    of = {graph.producers[name].layer for name in gathered.operands[:-1:3]}
    assert len(of) > 1
    assert of <= set(graph.layers(gathered))
    assert gathered.origin == f"%{gathered.name}"
