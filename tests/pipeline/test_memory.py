"""The memory plan, checked by brute force: what is alive at the same time never overlaps."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import pytest

from alexdsl.ir.graph import Graph
from alexdsl.ir.structure import LEAVES
from alexdsl.passes.pipeline import Options, at_stage
from tests.pipeline.example_backend import ExampleBackend
from tests.pipeline.nets import NETS, REGISTRY, SPECS, bound


def _lives(graph: Graph) -> Mapping[str, set[int]]:
    """The steps at which each value or workspace must be intact; what an op replaces goes on living as its result."""
    end = len(graph.ops)
    lives: dict[str, set[int]] = {}
    for i, op in enumerate(graph.ops):
        for r in op.results:
            readers = [j for j, reader in enumerate(graph.ops) if r.name in reader.operands]
            until = end if r.name in graph.outputs.values() else max(readers, default=i)
            lives[r.name] = set(range(end + 1)) if op.kind in LEAVES else set(range(i, until + 1))
        if op.attrs.get("workspace"):
            lives[f"{op.name} workspace"] = {i}
    return lives


def _same(graph: Graph) -> dict[str, str]:
    """For a result that takes over an operand's storage, the first value of that storage."""
    same: dict[str, str] = {}
    for op in graph:
        for result, operand in REGISTRY.replaced(op).items():
            same[op.results[result].name] = same.get(op.operands[operand], op.operands[operand])
    return same


def _places(graph: Graph) -> Mapping[str, tuple[str, int, int]]:
    places = {}
    for op in graph:
        assert op.device is not None
        for r in op.results:
            assert r.offset is not None
            places[r.name] = (op.device, r.offset, r.offset + graph.type(r.name).bytes)
        if op.attrs.get("workspace"):
            at = op.attrs["workspace_at"]
            places[f"{op.name} workspace"] = (op.device, at, at + op.attrs["workspace"])
    return places


def _check(graph: Graph) -> None:
    lives, places, same = _lives(graph), _places(graph), _same(graph)
    for device, _, end in places.values():
        assert end <= graph.attrs["arenas"][device]
    for a, b in combinations(places, 2):
        if same.get(a, a) == same.get(b, b):
            assert places[a] == places[b]
        elif places[a][0] == places[b][0] and max(places[a][1], places[b][1]) < min(places[a][2], places[b][2]):
            assert not lives[a] & lives[b], f"{a} and {b} share bytes while both are alive"


@pytest.mark.parametrize("save", ["store", "recompute"])
@pytest.mark.parametrize("mode", ["train", "gradients", "predict"])
@pytest.mark.parametrize("net", NETS)
def test_buffers_that_live_together_lie_apart(net: str, mode: str, save: str) -> None:
    _check(at_stage(bound(NETS[net]), Options(REGISTRY, ExampleBackend(), mode, save=save), "scheduled"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_buffers_of_the_specs_lie_apart(path: object) -> None:
    text = path.read_text(encoding="utf-8")
    graph = at_stage(bound(text), Options(REGISTRY, ExampleBackend()), "scheduled")
    if len(graph.ops) < 400:
        _check(graph)


def test_memory_is_used_again() -> None:
    graph = at_stage(bound(NETS["resnet"]), Options(REGISTRY, ExampleBackend()), "scheduled")
    apart = sum(graph.type(r.name).bytes for op in graph for r in op.results)
    assert graph.attrs["arenas"]["device0"] < apart / 2


def test_the_plan_does_not_depend_on_anything_but_the_graph() -> None:
    graphs = [at_stage(bound(NETS["alexnet"]), Options(REGISTRY, ExampleBackend()), "scheduled") for _ in range(2)]
    assert graphs[0] == graphs[1]
