"""Chains of ops, alone and fused, that every backend's kernels are tested on, against the NumPy references in double
precision, through the passes that every program takes from ``placed`` on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alexdsl.ir.backend import Backend
from alexdsl.ir.clipping import CLIPPING
from alexdsl.ir.graph import Graph, Op, Result
from alexdsl.ir.protocol import Array, Registry
from alexdsl.ir.semantics import Semantics, cut_type, tower_part
from alexdsl.ir.types import NUMPY, TensorType, f32
from alexdsl.ir.verify import verify
from alexdsl.passes.fuse import fuse
from alexdsl.passes.layout import layout
from alexdsl.passes.memory import plan_memory
from alexdsl.passes.schedule import schedule
from alexdsl.solvers import SOLVERS
from tests.layers.samples import REGISTRY, STEP, Sample, Tape

DEVICE = "host"


@dataclass(frozen=True)
class Target:
    """A backend, one of its devices, and numbers of threads that must not matter to a program's results."""

    make: Callable[[Registry], Backend]
    device: str
    threads: Sequence[int] = ()


@dataclass
class Chain:
    """Ops to compile, with a leaf for every value that none of them makes."""

    ops: Sequence[Op]
    leaves: Mapping[str, TensorType]
    weights: Sequence[str] = ()
    outputs: Sequence[str] = ()
    registry: Registry = REGISTRY

    def graph(self) -> Graph:
        replaced = {op.operands[i] for op in self.ops for i in self.registry.replaced(op).values()}
        kinds = {**dict.fromkeys(self.weights, "parameter"), **dict.fromkeys(replaced, "state")}
        leaves = [
            Op(kinds.get(name, "input"), (), (Result(name, type),), {"field": name}, DEVICE)
            for name, type in self.leaves.items()
        ]
        ops = [Op(op.kind, op.operands, op.results, op.attrs, DEVICE, "a", "a.net:1") for op in self.ops]
        outputs = self.outputs or [r.name for r in ops[-1].results]
        return Graph("a", "placed", (*leaves, *ops), {name: name for name in outputs}, {"devices": (DEVICE,)})

    def fused(self, target: Target) -> Graph:
        graph = self.graph()
        verify(graph, self.registry)
        found = fuse(graph, self.registry, target.make(self.registry))
        verify(found, self.registry)
        return found

    def program(self, target: Target) -> Graph:
        backend = target.make(self.registry)
        graph = self.fused(target)
        for step in (
            lambda g: layout(g, backend),
            lambda g: schedule(g, backend),
            lambda g: plan_memory(g, self.registry),
            backend.lower,
        ):
            graph = step(graph)
            verify(graph, self.registry)
        return graph

    def run(self, target: Target, arrays: Mapping[str, Array], threads: int = 2) -> dict[str, Array]:
        program = self.program(target)
        executable = target.make(self.registry).load(program, {DEVICE: target.device}, threads)
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

    def check(self, target: Target, arrays: Mapping[str, Array], tolerance: float = 2e-6) -> None:
        """Every output is the reference's, and the same bits for any number of threads."""
        found, expected = self.run(target, arrays), self.reference(arrays)
        for name, array in found.items():
            close(array, expected[name], tolerance)
        for threads in target.threads:
            for name, array in self.run(target, arrays, threads).items():
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


def one_op(op: Op, types: Mapping[str, TensorType], registry: Registry = REGISTRY) -> Chain:
    """An op alone; four-axed weights are parameters, as everywhere."""
    weights = {"conv": op.operands[1:], "conv_input_grad": op.operands[:1]}.get(op.kind, ())
    return Chain((op,), {name: types[name] for name in dict.fromkeys(op.operands)}, weights, registry=registry)


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


def layer_ops(sample: Sample) -> Iterable[tuple[Chain, dict[str, Array]]]:
    """A layer's op and the ops of its gradient, each alone, with values for its leaves."""
    tape = Tape(sample, [a.astype(np.float32) if a.dtype == np.float64 else a for a in sample.arrays()])
    if not sample.layer.metric:
        shape = np.shape(tape.outputs[0])
        tape.backward(np.asarray(np.random.default_rng(1).normal(size=shape), np.float32))
    for op in (tape.op, *tape.ops):
        share, types, arrays = one_tower(op, tape.types, tape.values)
        yield one_op(share, types), single(arrays)


def check_layer(target: Target, sample: Sample) -> None:
    """A layer's op and the ops of its gradient, each alone, are their references."""
    for chain, arrays in layer_ops(sample):
        chain.check(target, arrays)


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


SOLVING: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **{
        f"{kind} {velocity}": (kind, {"lr": 0.2, "momentum": 0.9, "decay": 0.01, "velocity": velocity})
        for kind in ("sgd", "nesterov")
        for velocity in ("inside", "outside")
    },
    **{
        f"adam {by}": (
            "adam",
            {"lr": 0.02, "beta1": 0.9, "beta2": beta2, "epsilon": 1e-3, "decay": 0.01, "decay_by": by},
        )
        for by, beta2 in (("gradient", 0.999), ("weight", 0.0))
    },
}
"""Solvers and their settings."""


def updates(name: str, *sizes: int) -> Builder:
    """One update of parameters of so many elements, by one of SOLVING."""
    kind, attrs = SOLVING[name]
    solver = next(solver for solver in SOLVERS if solver.name == kind)
    kept = ("weight", *solver.states)
    types = {f"{role}{i}": f32(size) for i, size in enumerate(sizes) for role in (*kept, "grad")}
    scalars = {role: STEPS if role == "step" else f32() for role in solver.scalars}
    results = " ".join(f"{role}{i}.new" for i in range(len(sizes)) for role in kept)
    builder = Builder(REGISTRY.extended(SOLVERS), **types, **scalars)
    return builder.op(kind, " ".join((*types, *scalars)), results, attrs)


def clipping(*sizes: int, limit: float) -> Builder:
    """Gradients of so many elements, clipped together."""
    builder = Builder(REGISTRY.extended(CLIPPING), **{f"g{i}": f32(size) for i, size in enumerate(sizes)})
    for i in range(len(sizes)):
        builder.op("square_sum", f"g{i}", f"s{i}", {})
    total = "s0"
    if len(sizes) > 1:
        total = "total"
        builder.op("sum", " ".join(f"s{i}" for i in range(len(sizes))), total, {})
    for i in range(len(sizes)):
        builder.op("clip", f"g{i} {total}", f"c{i}", {"limit": limit})
    return builder


def one_by_one(chain: Chain) -> Chain:
    """The chain with its update in as many ops as it has parameters."""
    (update,) = chain.ops
    parameters, scalars = chain.registry.solvers[update.kind].split(update.operands)
    kept = len(update.results) // len(parameters)
    ops = [
        replace(update, operands=(*own, *scalars), results=update.results[kept * i : kept * (i + 1)])
        for i, own in enumerate(parameters)
    ]
    return replace(chain, ops=ops, outputs=[r.name for r in update.results])


def check_updates(target: Target, *sizes: int) -> None:
    """Parameters of these sizes, updated together, are the reference's, and the bits that each becomes alone."""
    for name in SOLVING:
        together = updates(name, *sizes).chain()
        given = values(together)
        together.check(target, given)
        alone = one_by_one(together)
        assert len(alone.ops) == len(sizes)
        found = together.run(target, given)
        assert len(found) == len(together.ops[0].results)
        for value, array in alone.run(target, given).items():
            np.testing.assert_array_equal(found[value], array, err_msg=f"{name}: {value}")


def values(chain: Chain, seed: int = 3) -> dict[str, Array]:
    """Values for a chain's leaves: normal floats (positive as squares), places in a window of four, the step, or
    labels."""
    random = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for name, type in chain.leaves.items():
        if type.dtype == "f32":
            made[name] = random.normal(size=type.shape).astype(np.float32)
            if name.startswith("square"):
                made[name] = np.abs(made[name])
        elif type.dtype == "i64":
            made[name] = np.full(type.shape, STEP)
        else:
            made[name] = random.integers(0, 4, type.shape).astype(NUMPY[type.dtype])
    return made


def kinds(target: Target, chain: Chain) -> list[str]:
    """The kinds that are left after fusion, leaves aside."""
    return [op.kind for op in chain.fused(target) if op.operands]


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
