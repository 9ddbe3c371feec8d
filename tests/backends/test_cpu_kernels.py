"""The CPU backend's kernels against the NumPy references in double precision, through the passes that every program
takes from ``placed`` on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from alexdsl.ir import philox
from alexdsl.ir.graph import Graph, Op, Result
from alexdsl.ir.protocol import Array, LayerKind, Registry, ShapeError
from alexdsl.ir.semantics import Semantics, cut_type, tower_part
from alexdsl.ir.types import NUMPY, TensorType, f32
from alexdsl.ir.verify import verify
from alexdsl.layers.elementwise import Elementwise, elementwise_ops
from alexdsl.passes.fuse import fuse
from alexdsl.passes.layout import layout
from alexdsl.passes.memory import plan_memory
from alexdsl.passes.schedule import schedule
from alexdsl_cpu import backend as make_backend
from tests.layers.samples import REGISTRY, SAMPLES, STEP, Sample, Tape

DEVICE = "host"


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cold cache of kernels for all tests of the file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALEXDSL_CACHE", str(tmp_path_factory.mktemp("kernels")))
        yield


@dataclass
class Chain:
    """Ops to compile, with a leaf for every value that none of them makes."""

    ops: Sequence[Op]
    leaves: Mapping[str, TensorType]
    weights: Sequence[str] = ()
    outputs: Sequence[str] = ()
    registry: Registry = REGISTRY

    def graph(self) -> Graph:
        leaves = [
            Op("parameter" if name in self.weights else "input", (), (Result(name, type),), {"field": name}, DEVICE)
            for name, type in self.leaves.items()
        ]
        ops = [Op(op.kind, op.operands, op.results, op.attrs, DEVICE, "a", "a.net:1") for op in self.ops]
        outputs = self.outputs or [r.name for r in ops[-1].results]
        return Graph("a", "placed", (*leaves, *ops), {name: name for name in outputs}, {"devices": (DEVICE,)})

    def fused(self) -> Graph:
        graph = self.graph()
        verify(graph, self.registry)
        found = fuse(graph, self.registry, make_backend(self.registry))
        verify(found, self.registry)
        return found

    def program(self) -> Graph:
        backend = make_backend(self.registry)
        graph = self.fused()
        for step in (
            lambda g: layout(g, backend),
            lambda g: schedule(g, backend),
            lambda g: plan_memory(g, self.registry),
            backend.lower,
        ):
            graph = step(graph)
            verify(graph, self.registry)
        return graph

    def run(self, arrays: Mapping[str, Array], threads: int = 2) -> dict[str, Array]:
        program = self.program()
        executable = make_backend(self.registry).load(program, threads)
        try:
            for name in self.leaves:
                executable.write(name, arrays[name])
            executable.run()
            return {name: executable.read(name) for name in program.outputs.values()}
        finally:
            executable.close()

    def reference(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The values in double precision."""
        values = {k: np.asarray(v, np.float64) if self.leaves[k].dtype == "f32" else v for k, v in arrays.items()}
        semantics = Semantics(self.registry)
        for op in self.ops:
            results = semantics.reference(op.kind, [values[name] for name in op.operands], op.attrs)
            values.update(zip((r.name for r in op.results), results, strict=True))
        return values

    def check(self, arrays: Mapping[str, Array], tolerance: float = 2e-6) -> None:
        """Every output is the reference's, and the same bits for any number of workers."""
        found, expected = self.run(arrays), self.reference(arrays)
        for name, array in found.items():
            close(array, expected[name], tolerance)
        for threads in (1, 3):
            for name, array in self.run(arrays, threads).items():
                np.testing.assert_array_equal(array, found[name])


def close(found: Array, expected: Array, tolerance: float) -> None:
    """Whole numbers are equal; floats differ by no more than a part ``tolerance`` of the array's norm."""
    assert found.shape == np.shape(expected)
    if found.dtype != np.float32:
        np.testing.assert_array_equal(found, expected)
        return
    assert np.isfinite(found).all()
    error, norm = np.linalg.norm(found.astype(np.float64) - expected), np.linalg.norm(expected)
    assert error <= tolerance * max(norm, 1e-3), f"relative error {error / norm:.2g}"


def one_op(op: Op, types: Mapping[str, TensorType], registry: Registry = REGISTRY) -> Chain:
    """An op alone; four-axed weights are parameters, as everywhere."""
    weights = {"conv": op.operands[1:], "conv_input_grad": op.operands[:1]}.get(op.kind, ())
    return Chain((op,), {name: types[name] for name in dict.fromkeys(op.operands)}, weights, registry=registry)


def one_tower(op: Op, types: Mapping[str, TensorType], arrays: Mapping[str, Array]) -> tuple[Op, dict[str, TensorType], dict[str, Array]]:  # fmt: skip
    """The last tower's share of an op, as placing makes it."""
    towers = op.attrs.get("towers", 1)
    given = {name: types[name] for name in op.operands}
    if towers == 1:
        return op, given, {name: arrays[name] for name in op.operands}
    semantics = Semantics(REGISTRY)
    cuts, _ = REGISTRY[op.kind].cuts(list(given.values()), op.attrs)
    cut = {name: cut_type(type, c, towers) for (name, type), c in zip(given.items(), cuts, strict=True)}
    parts = {}
    for name, c in zip(given, cuts, strict=True):
        index = [slice(None)] * arrays[name].ndim
        if isinstance(c, int):
            index[c] = tower_part(c, towers - 1, towers, arrays[name].shape[c], name)
        parts[name] = arrays[name][tuple(index)]
    attrs = semantics.tower_attrs(op.kind, op.attrs, towers - 1)
    made = semantics.infer(op.kind, list(cut.values()), attrs)
    results = tuple(Result(r.name, type) for r, type in zip(op.results, made, strict=True))
    return Op(op.kind, op.operands, results, attrs), cut, parts


def single(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Floats in single precision."""
    return {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in arrays.items()}


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_kernels_are_the_references(sample: Sample) -> None:
    tape = Tape(sample, [a.astype(np.float32) if a.dtype == np.float64 else a for a in sample.arrays()])
    if not sample.layer.metric:
        shape = np.shape(tape.outputs[0])
        tape.backward(np.asarray(np.random.default_rng(1).normal(size=shape), np.float32))
    for op in (tape.op, *tape.ops):
        share, types, arrays = one_tower(op, tape.types, tape.values)
        one_op(share, types).check(single(arrays), 1e-5)
