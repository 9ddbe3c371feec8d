"""The CPU backend's kernels against the NumPy references in double precision, through the passes that every program
takes from ``placed`` on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from alexdsl_cpu import backend as make_backend
from alexdsl_cpu.backend import CpuBackend
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from alexdsl.ir import philox
from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Graph, Op, Result
from alexdsl.ir.protocol import Array, Registry, ShapeError, Types
from alexdsl.ir.semantics import Semantics, cut_type, tower_part
from alexdsl.ir.types import NUMPY, TensorType, f32
from alexdsl.ir.verify import verify
from alexdsl.layers.elementwise import Elementwise, elementwise_ops
from alexdsl.passes.fuse import fuse
from alexdsl.passes.layout import layout
from alexdsl.passes.memory import plan_memory
from alexdsl.passes.schedule import schedule
from tests.layers.samples import REGISTRY, SAMPLES, STEP, Sample, Tape

DEVICE = "host"


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cold cache of kernels for all tests of the file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALEXDSL_CACHE", str(tmp_path_factory.mktemp("kernels")))
        yield


@dataclass
class _Wanted:
    """A backend that offers one strategy only, where it has it."""

    backend: CpuBackend
    strategy: str

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        found = self.backend.strategies(op, operands, results)
        return [s for s in found if s.name == self.strategy] or found


@dataclass
class Chain:
    """Ops to compile, with a leaf for every value that none of them makes."""

    ops: Sequence[Op]
    leaves: Mapping[str, TensorType]
    weights: Sequence[str] = ()
    outputs: Sequence[str] = ()
    registry: Registry = REGISTRY
    strategy: str = ""
    """What every op is computed by where it is offered; else the cost table chooses."""

    def graph(self) -> Graph:
        replaced = {op.operands[i] for op in self.ops for i in self.registry[op.kind].inplace.values()}
        kinds = {**dict.fromkeys(self.weights, "parameter"), **dict.fromkeys(replaced, "state")}
        leaves = [
            Op(kinds.get(name, "input"), (), (Result(name, type),), {"field": name}, DEVICE)
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
            lambda g: schedule(g, _Wanted(backend, self.strategy)),
            lambda g: plan_memory(g, self.registry),
            backend.lower,
        ):
            graph = step(graph)
            verify(graph, self.registry)
        return graph

    def run(self, arrays: Mapping[str, Array], threads: int = 2) -> dict[str, Array]:
        program = self.program()
        executable = make_backend(self.registry).load(program, {DEVICE: "cpu"}, threads)
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
    error, norm = (float(np.linalg.norm(a)) for a in (found.astype(np.float64) - expected, expected))
    assert error <= tolerance * max(norm, 1e-3), f"relative error {error / norm:.2g}"


def one_op(op: Op, types: Mapping[str, TensorType], registry: Registry = REGISTRY, strategy: str = "") -> Chain:
    """An op alone; four-axed weights are parameters, as everywhere."""
    weights = {"conv": op.operands[1:], "conv_input_grad": op.operands[:1]}.get(op.kind, ())
    leaves = {name: types[name] for name in dict.fromkeys(op.operands)}
    return Chain((op,), leaves, weights, registry=registry, strategy=strategy)


def one_tower(
    op: Op, types: Mapping[str, TensorType], arrays: Mapping[str, Array],
) -> tuple[Op, dict[str, TensorType], dict[str, Array]]:  # fmt: skip
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


def layer_ops(sample: Sample) -> Iterator[tuple[Op, dict[str, TensorType], dict[str, Array]]]:
    """A layer's op and the ops of its gradient, each with its operands' types and values."""
    tape = Tape(sample, [a.astype(np.float32) if a.dtype == np.float64 else a for a in sample.arrays()])
    if not sample.layer.metric:
        shape = np.shape(tape.outputs[0])
        tape.backward(np.asarray(np.random.default_rng(1).normal(size=shape), np.float32))
    for op in (tape.op, *tape.ops):
        share, types, arrays = one_tower(op, tape.types, tape.values)
        yield share, types, single(arrays)


def check_layer(sample: Sample, strategy: str = "", tolerance: float = 2e-6) -> None:
    """A layer's op and the ops of its gradient, each alone, are their references."""
    for op, types, arrays in layer_ops(sample):
        one_op(op, types, strategy=strategy).check(arrays, tolerance)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_kernels_are_the_references(sample: Sample) -> None:
    check_layer(sample)


def test_windows_may_lie_wholly_in_the_pad() -> None:
    check_layer(Sample("conv", {"maps": 2, "kernel": 2, "pad": 4}, ((2, 3, 3, 2),)))
    check_layer(Sample("conv", {"maps": 2, "kernel": (1, 2), "pad": 3, "dilation": 2}, ((2, 3, 2, 3),)))


class Builder:
    """Ops one after the other by layer names and gradient kinds, their types inferred; values are named by the test."""

    def __init__(self, registry: Registry = REGISTRY, **types: TensorType) -> None:
        self.registry, self.leaves, self.types = registry, dict(types), dict(types)
        self.ops: list[Op] = []

    def layer(self, kind: str, operands: str, results: str, **given: Any) -> Builder:
        """An op of a layer kind by its arguments, as in a spec."""
        attrs = Sample(kind, given, (), registry=self.registry).attrs
        return self.op(kind, operands, results, attrs)

    def op(self, kind: str, operands: str, results: str, attrs: Mapping[str, Any]) -> Builder:
        types = Semantics(self.registry).infer(kind, [self.types[name] for name in operands.split()], attrs)
        made = tuple(Result(name, type) for name, type in zip(results.split(), types, strict=True))
        self.types |= {r.name: r.type for r in made if r.type}
        self.ops.append(Op(kind, tuple(operands.split()), made, attrs))
        return self

    def chain(self, *outputs: str, weights: Sequence[str] = ()) -> Chain:
        return Chain(self.ops, self.leaves, weights, outputs, self.registry)


def values(chain: Chain, seed: int = 3) -> dict[str, Array]:
    """Values for a chain's leaves: normal floats, places in a window of four, the step, or labels."""
    random = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for name, type in chain.leaves.items():
        if type.dtype == "f32":
            made[name] = random.normal(size=type.shape).astype(np.float32)
        elif type.dtype == "i64":
            made[name] = np.full(type.shape, STEP)
        else:
            made[name] = random.integers(0, 4, type.shape).astype(NUMPY[type.dtype])
    return made


def kinds(chain: Chain) -> list[str]:
    """The kinds that are left after fusion, leaves aside."""
    return [op.kind for op in chain.fused() if op.operands]


MAPS = f32(2, 6, 8, 7)
PLACES = TensorType("u8", (2, 6, 4, 3))
POOL = {"kernel": 2, "stride": 2}
GRAD = {**Sample("maxpool", POOL, ()).attrs, "input": MAPS.shape}
LRN = Sample("lrn", {"alpha": 0.3}, ()).attrs
DROPOUT = Sample("dropout", {}, ()).attrs
CONV = {"maps": 6, "kernel": 3, "pad": 1}
CONV_GRAD = {**Sample("conv", CONV, ()).attrs, "input": MAPS.shape}
FILTER, BIAS = f32(6, 6, 3, 3), f32(6)
STEPS = TensorType("i64", ())

CHAINS = {
    "conv+relu": Builder(x=MAPS, w=FILTER, b=BIAS).layer("conv", "x w b", "y", **CONV).layer("relu", "y", "z"),
    "conv+sigmoid+tanh": Builder(x=MAPS, w=FILTER, b=BIAS)
    .layer("conv", "x w b", "y", **CONV).layer("sigmoid", "y", "z").layer("tanh", "z", "u"),
    "conv_input_grad+relu_grad": Builder(w=FILTER, dy=MAPS, y=MAPS)
    .op("conv_input_grad", "w dy", "dx", CONV_GRAD).op("relu_grad", "dx y", "dz", {}),
    "linear+relu": Builder(x=f32(5, 40), w=f32(300, 40), b=f32(300))
    .layer("linear", "x w b", "y", units=300).layer("relu", "y", "z"),
    "lrn+maxpool": Builder(x=MAPS).layer("lrn", "x", "y", alpha=0.3).layer("maxpool", "y", "z i", **POOL),
    "lrn_grad+relu_grad": Builder(dy=MAPS, x=MAPS, y=MAPS)
    .op("lrn_grad", "dy x", "dx", LRN).op("relu_grad", "dx y", "dz", {}),
    "maxpool_grad+lrn_grad": Builder(dy=f32(*PLACES.shape), i=PLACES, x=MAPS)
    .op("maxpool_grad", "dy i", "dx", GRAD).op("lrn_grad", "dx x", "dz", LRN),
    "maxpool_grad+lrn_grad+relu_grad": Builder(dy=f32(*PLACES.shape), i=PLACES, x=MAPS)
    .op("maxpool_grad", "dy i", "dx", GRAD).op("lrn_grad", "dx x", "dz", LRN).op("relu_grad", "dz x", "du", {}),
    "maxpool_grad+relu_grad": Builder(dy=f32(*PLACES.shape), i=PLACES, y=MAPS)
    .op("maxpool_grad", "dy i", "dx", GRAD).op("relu_grad", "dx y", "dz", {}),
    "avgpool_grad+tanh_grad": Builder(dy=f32(*PLACES.shape), y=MAPS)
    .op("avgpool_grad", "dy", "dx", {**GRAD, "count": "inside"}).op("tanh_grad", "dx y", "dz", {}),
    "global_avgpool_grad+relu_grad": Builder(dy=f32(2, 6), y=MAPS)
    .op("global_avgpool_grad", "dy", "dx", {"input": MAPS.shape}).op("relu_grad", "dx y", "dz", {}),
    "dropout_grad+relu_grad": Builder(dy=f32(3, 4111), s=STEPS, y=f32(3, 4111))
    .op("dropout_grad", "dy s", "dx", DROPOUT).op("relu_grad", "dx y", "dz", {}),
    "relu+tanh_grad": Builder(x=MAPS, y=MAPS).layer("relu", "x", "z").op("tanh_grad", "z y", "u", {}),
    "add+relu": Builder(a=MAPS, b=MAPS, c=MAPS).layer("add", "a b c", "y").layer("relu", "y", "z"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_chains_are_one_kernel_and_right(name: str) -> None:
    weights = [leaf for leaf in CHAINS[name].leaves if leaf == "w"]
    chain = CHAINS[name].chain(weights=weights)
    assert kinds(chain) == [name]
    chain.check(values(chain))


def test_a_sum_of_many_joins_no_other_kernel() -> None:
    builder = Builder(x=MAPS, w=FILTER, b=BIAS, c=MAPS).layer("conv", "x w b", "y", **CONV)
    chain = builder.layer("add", "y c c", "z").chain(weights=["w"])
    assert kinds(chain) == ["conv", "add"]
    chain.check(values(chain))


def test_a_value_that_others_read_is_stored() -> None:
    builder = Builder(x=MAPS, w=FILTER, b=BIAS).layer("conv", "x w b", "y", **CONV).layer("relu", "y", "z")
    chain = builder.chain("y", "z", weights=["w"])
    assert kinds(chain) == ["conv", "relu"]
    chain.check(values(chain))


class LeakyRelu(Elementwise):
    """A layer kind that no kernel file knows."""

    name = "leaky_relu"
    needs = ("input",)
    scalar = "x if x > 0.0 else slope * x"
    derivative = "1.0 if x > 0.0 else slope"

    def reference(self, arrays: Sequence[Array], attrs: Mapping[str, Any]) -> Sequence[Array]:
        return (np.where(arrays[0] > 0, arrays[0], attrs["slope"] * arrays[0]),)

    def slope(self, x: Array, y: Array, attrs: Mapping[str, Any]) -> Array:
        return np.where(x > 0, 1.0, attrs["slope"])


def test_a_new_kind_joins_a_convolution() -> None:
    registry = REGISTRY.extended(elementwise_ops(LeakyRelu()))
    builder = Builder(registry, x=MAPS, w=FILTER, b=BIAS).layer("conv", "x w b", "y", **CONV)
    forward = builder.op("leaky_relu", "y", "z", {"slope": 0.1}).chain(weights=["w"])
    assert kinds(forward) == ["conv+leaky_relu"]
    forward.check(values(forward))
    builder = Builder(registry, w=FILTER, dy=MAPS, x=MAPS).op("conv_input_grad", "w dy", "dx", CONV_GRAD)
    backward = builder.op("leaky_relu_grad", "dx x", "dz", {"slope": 0.1}).chain(weights=["w"])
    assert kinds(backward) == ["conv_input_grad+leaky_relu_grad"]
    backward.check(values(backward))


@pytest.mark.parametrize("shape", [(3, 4111), (2, 5, 3, 7)])
@pytest.mark.parametrize("part", [(0, 1), (1, 2), (2, 3)])
def test_dropout_draws_the_reference_mask(shape: tuple[int, ...], part: tuple[int, int]) -> None:
    attrs = {**DROPOUT, "p": 0.3, "first": 2**31 + 5, "part": part}
    chain = Builder(x=f32(*shape), s=STEPS).op("dropout", "x s", "y", attrs).chain()
    found = chain.run({"x": np.ones(shape, np.float32), "s": np.asarray(STEP)})["y"]
    size = int(np.prod(shape[1:]))
    where = {"first_index": attrs["first"], "first_element": part[0] * size}
    kept = philox.dropout_mask(attrs["seed"], attrs["stream"], STEP, shape[0], size, attrs["p"], **where)
    np.testing.assert_array_equal(found, np.where(kept.reshape(shape), np.float32(1 / 0.7), np.float32(0)))


@pytest.mark.parametrize("dtype", ["f32", "i32", "i64", "u8"])
def test_copies_of_any_type(dtype: str) -> None:
    chain = Builder(x=TensorType(dtype, (3, 5))).op("copy", "x", "y", {"source": DEVICE, "bytes": 0}).chain()
    chain.check(values(chain))


def test_not_a_number_stays_one() -> None:
    x = np.zeros(MAPS.shape, np.float32)
    x[1, 2, 3, 4] = np.nan
    forward = Builder(x=MAPS).layer("maxpool", "x", "z i", **POOL).chain()
    assert np.isnan(forward.run({"x": x})["z"]).sum() == 1
    normal = Builder(x=MAPS).layer("lrn", "x", "y", alpha=0.3).layer("relu", "y", "z").chain()
    assert np.isnan(normal.run({"x": x})["z"]).sum() == 5
    scores = np.zeros((3, 4), np.float32)
    scores[1, 2] = np.nan
    label = TensorType("i32", (3,))
    loss = Builder(x=f32(3, 4), l=label).layer("softmax_cross_entropy", "x l", "y").chain()
    assert np.isnan(loss.run({"x": scores, "l": np.zeros(3, np.int32)})["y"])


EXAMPLES = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Kernels of these windows are compiled for the samples anyway; sizes are arguments.
WINDOWS = [s for s in SAMPLES if s.kind in ("conv", "maxpool", "avgpool") and s.towers == 1]
LRNS = [s for s in SAMPLES if s.kind == "lrn" and s.towers == 1]


@EXAMPLES
@given(st.sampled_from(WINDOWS), st.tuples(*(st.integers(1, most) for most in (3, 9, 23, 23))), st.integers(1, 9))
def test_windows_of_any_shape(window: Sample, shape: tuple[int, ...], maps: int) -> None:
    attrs = window.attrs
    if window.kind == "conv":
        groups = attrs["groups"]
        shape = (shape[0], shape[1] * groups, *shape[2:])
        window = window.with_attrs(maps=maps * groups)
    sample = Sample(window.kind, window.given, (shape,))
    try:
        _ = sample.types, sample.result_types
    except ShapeError:
        assume(False)
    check_layer(sample)


@EXAMPLES
@given(st.sampled_from(LRNS), st.tuples(*(st.integers(1, most) for most in (3, 70, 9, 9))))
def test_lrn_of_any_shape(window: Sample, shape: tuple[int, ...]) -> None:
    check_layer(Sample("lrn", window.given, (shape,)))


@EXAMPLES
@given(st.tuples(*(st.integers(1, most) for most in (300, 90, 700))))
def test_linear_of_any_shape(sizes: tuple[int, int, int]) -> None:
    check_layer(Sample("linear", {"units": sizes[2]}, ((sizes[0], sizes[1]),)))
