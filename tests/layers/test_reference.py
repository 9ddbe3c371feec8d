"""The references: shapes, precision, gradients against finite differences, scalar expressions, declared needs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from alexdsl.ir.protocol import Array
from alexdsl.ir.types import NUMPY
from alexdsl.layers.elementwise import Elementwise, ElementwiseGrad
from tests.layers.samples import REGISTRY, SAMPLES, SEMANTICS, Sample, Tape, differentiable, of_kinds

NAMES = {"max": max, "min": min, "abs": abs, "exp": math.exp, "tanh": math.tanh, "sqrt": math.sqrt, "__builtins__": {}}


def _slope(sample: Sample, arrays: list[Array], dy: Array, operand: int, step: float = 1e-5) -> Array:
    """The gradient of sum(y * dy) by central differences, element by element."""
    slope = np.zeros_like(arrays[operand])
    for at in np.ndindex(slope.shape):
        ends = []
        for sign in (1, -1):
            moved = [a.copy() for a in arrays]
            moved[operand][at] += sign * step
            ends.append((SEMANTICS.reference(sample.kind, moved, sample.attrs)[0] * dy).sum())
        slope[at] = (ends[0] - ends[1]) / (2 * step)
    return slope


def _dy(tape: Tape) -> Array:
    shape = np.shape(tape.outputs[0])
    return np.asarray(np.random.default_rng(1).normal(size=shape), np.asarray(tape.outputs[0]).dtype)


def test_every_kind_has_samples() -> None:
    assert {s.kind for s in SAMPLES} == set(REGISTRY.layers)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reference_keeps_the_inferred_types(sample: Sample, dtype: Any) -> None:
    tape = Tape(sample, sample.arrays(dtype))
    if not sample.layer.metric:
        tape.backward(_dy(tape))
    for op in (tape.op, *tape.ops):
        for result in op.results:
            value = tape.values[result.name]
            assert result.type is not None
            assert isinstance(value, np.ndarray)
            assert value.shape == result.type.shape
            metric = sample.layer.metric
            assert value.dtype == (dtype if result.type.dtype == "f32" and not metric else NUMPY[result.type.dtype])


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_single_precision_agrees_with_double(sample: Sample) -> None:
    arrays = sample.arrays(np.float32)
    single = SEMANTICS.reference(sample.kind, arrays, sample.attrs)
    double = SEMANTICS.reference(
        sample.kind, [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays], sample.attrs
    )
    for a, b in zip(single, double, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sample", differentiable(), ids=str)
def test_gradients_are_the_slopes(sample: Sample) -> None:
    arrays = sample.arrays()
    tape = Tape(sample, arrays)
    dy = _dy(tape)
    states = len(sample.layer.state_roles)
    trained = len(arrays) - states
    for operand, grad in enumerate(tape.backward(dy)):
        if arrays[operand].dtype != np.float64 or operand >= trained:
            assert grad is None
            continue
        assert grad is not None
        np.testing.assert_allclose(grad, _slope(sample, arrays, dy, operand), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("sample", differentiable(), ids=str)
def test_gradients_one_at_a_time(sample: Sample) -> None:
    arrays = sample.arrays()
    everything = Tape(sample, arrays)
    dy = _dy(everything)
    for operand, grad in enumerate(everything.backward(dy)):
        if grad is None:
            continue
        wanted = [i == operand for i in range(len(arrays))]
        alone = Tape(sample, arrays).backward(dy, wanted)[operand]
        assert alone is not None
        np.testing.assert_array_equal(alone, grad)


@pytest.mark.parametrize("sample", differentiable(), ids=str)
def test_gradients_read_what_the_kind_says_it_needs(sample: Sample) -> None:
    tape = Tape(sample, sample.arrays())
    tape.backward(_dy(tape))
    emitted = {r.name for op in tape.ops for r in op.results}
    read = {name for op in tape.ops for name in op.operands} - emitted - {"dy"}
    layer, op = sample.layer, tape.op
    inputs = len(sample.shapes)
    weights = inputs + sum(sample.attrs.get(role, True) for role in layer.weight_roles)
    meaning = {
        "input": set(op.operands[:inputs]),
        "weights": set(op.operands[inputs:weights]),
        "output": {op.results[0].name},
        **{f"result_{i}": {r.name} for i, r in enumerate(op.results)},
    }
    always = set(op.operands[weights + len(layer.state_roles) :])
    assert read <= always.union(*(meaning[need] for need in layer.needs))
    for need in layer.needs:
        assert read & meaning[need], f"{layer.name} reads no {need}"


@pytest.mark.parametrize("name", [k for k, v in REGISTRY.ops.items() if v.scalar])
def test_scalars_are_the_reference(name: str) -> None:
    kind = REGISTRY[name]
    assert kind.scalar is not None
    layer = name.removesuffix("_grad")
    for sample in of_kinds(layer):
        if isinstance(kind, ElementwiseGrad):
            x = sample.arrays()[0]
            y = kind.layer.reference([x], sample.attrs)[0]
            arrays = [_dy(Tape(sample, [x])), x if kind.scalar_operands[1] == "x" else y]
        else:
            arrays = sample.arrays()[: len(kind.scalar_operands)]
            if len(sample.shapes) != len(arrays):
                continue
        expected = SEMANTICS.reference(name, arrays, sample.attrs)[0]
        code = compile(kind.scalar, name, "eval")
        found = [
            eval(code, NAMES, {**sample.attrs, **dict(zip(kind.scalar_operands, map(float, row), strict=True))})
            for row in zip(*(a.ravel() for a in arrays), strict=True)
        ]
        np.testing.assert_allclose(found, expected.ravel(), rtol=1e-12)


@pytest.mark.parametrize(
    "kind", [k for k in REGISTRY.layers.values() if isinstance(k, Elementwise)], ids=lambda k: k.name
)
def test_derivatives_are_the_slopes(kind: Elementwise) -> None:
    for sample in of_kinds(kind.name):
        x = sample.arrays()[0]
        y = kind.reference([x], sample.attrs)[0]
        code = compile(kind.derivative, kind.name, "eval")
        found = [
            eval(code, NAMES, {**sample.attrs, "x": float(a), "y": float(b)})
            for a, b in zip(x.ravel(), y.ravel(), strict=True)
        ]
        np.testing.assert_allclose(found, kind.slope(x, y, sample.attrs).ravel(), rtol=1e-12)


def test_ties_go_to_the_first() -> None:
    sample = Sample("maxpool", {"kernel": 2}, ((1, 1, 2, 4),))
    x = np.array([[1.0, 3.0, -2.0, -2.0], [3.0, 3.0, -5.0, -2.0]])[None, None]
    y, index = SEMANTICS.reference("maxpool", [x], sample.attrs)
    assert y.ravel().tolist() == [3, -2]
    assert index.ravel().tolist() == [1, 0]


def test_maxpool_index_outgrows_a_byte() -> None:
    sample = Sample("maxpool", {"kernel": (16, 17)}, ((1, 1, 16, 17),))
    x = np.arange(16.0 * 17).reshape(1, 1, 16, 17)
    y, index = SEMANTICS.reference("maxpool", [x], sample.attrs)
    assert index.dtype == np.int32
    assert (index.item(), y.item()) == (271, 271)


def test_dropout_hangs_on_place_and_step_alone() -> None:
    sample = Sample("dropout", {"p": 0.5}, ((6, 40),))
    x, step = np.ones((6, 40)), np.asarray(3)
    whole = SEMANTICS.reference("dropout", [x, step], sample.attrs)[0]
    late = SEMANTICS.reference("dropout", [x[4:], step], {**sample.attrs, "first": 4})[0]
    np.testing.assert_array_equal(whole[4:], late)
    assert set(np.unique(whole)) == {0.0, 2.0}
    for change in ({"seed": 8}, {"stream": "b.dropout"}):
        assert (SEMANTICS.reference("dropout", [x, step], {**sample.attrs, **change})[0] != whole).any()
    assert (SEMANTICS.reference("dropout", [x, np.asarray(4)], sample.attrs)[0] != whole).any()


def test_dropout_predicts() -> None:
    assert Sample("dropout", {}, ((2, 3),)).layer.predict(Sample("dropout", {}, ((2, 3),)).op) is None
    op = Sample("dropout", {"p": 0.25, "scale": "test"}, ((2, 4),), towers=2).op
    scale = REGISTRY.layers["dropout"].predict(op)
    assert scale is not None
    assert (scale.kind, scale.operands, scale.attrs) == ("scale", ("x0",), {"factor": 0.75, "towers": 2})


def test_batch_norm_predicts_by_running_statistics() -> None:
    sample = Sample("batch_norm", {"over": 2, "epsilon": 0.5}, ((4, 2),))
    x, weight, bias, mean, variance = sample.arrays()
    op = sample.layer.predict(sample.op)
    assert op is not None
    y, _, _, *news = SEMANTICS.reference(op.kind, [x, weight, bias, mean, variance], op.attrs)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 0.5) * weight + bias)
    np.testing.assert_array_equal(news, [mean, variance])
