"""The CPU backend's kernels against the NumPy references in double precision, through the passes that every program
takes from ``placed`` on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from alexdsl_cpu import backend
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from alexdsl.ir import philox
from alexdsl.ir.protocol import Array, ShapeError
from alexdsl.ir.types import TensorType, f32
from alexdsl.layers.elementwise import Elementwise, elementwise_ops
from alexdsl.passes.gather import AT_ONCE
from tests.backends.chains import (
    BIAS,
    CHAINS,
    CONV,
    CONV_GRAD,
    DEVICE,
    DROPOUT,
    FILTER,
    MAPS,
    POOL,
    STEPS,
    Builder,
    Target,
    check_layer,
    check_updates,
    clipping,
    kinds,
    values,
)
from tests.layers.samples import REGISTRY, SAMPLES, STEP, Sample

CPU = Target(backend, "cpu", threads=(1, 3))


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_kernels_are_the_references(sample: Sample) -> None:
    check_layer(CPU, sample)


def test_windows_may_lie_wholly_in_the_pad() -> None:
    check_layer(CPU, Sample("conv", {"maps": 2, "kernel": 2, "pad": 4}, ((2, 3, 3, 2),)))
    check_layer(CPU, Sample("conv", {"maps": 2, "kernel": (1, 2), "pad": 3, "dilation": 2}, ((2, 3, 2, 3),)))


@pytest.mark.parametrize("name", CHAINS)
def test_chains_are_one_kernel_and_right(name: str) -> None:
    weights = [leaf for leaf in CHAINS[name].leaves if leaf == "w"]
    chain = CHAINS[name].chain(weights=weights)
    assert kinds(CPU, chain) == [name]
    chain.check(CPU, values(chain))


@pytest.mark.parametrize(("shape", "given"), [((7, 6, 8, 7), {}), ((6, 6, 3, 5), {"over": 2}), ((150, 6), {})])
def test_batch_norm_takes_what_follows(shape: tuple[int, ...], given: dict[str, Any]) -> None:
    x = f32(*shape)
    builder = Builder(x=x, w=BIAS, b=BIAS, m=BIAS, square=BIAS, u=x)
    builder.layer("batch_norm", "x w b m square", "y mean rstd middle variance", **given).layer("relu", "y", "z")
    chain = builder.op("tanh_grad", "z u", "v", {}).chain("v", "mean", "rstd", "middle", "variance")
    assert kinds(CPU, chain) == ["batch_norm+relu+tanh_grad"]
    arrays = values(chain)
    chain.check(CPU, arrays)
    # Far from zero, where a variance that is a difference of squares would be lost.
    chain.check(CPU, {**arrays, "x": arrays["x"] + np.float32(3000)}, 1e-3)


def test_a_sum_of_many_joins_no_other_kernel() -> None:
    builder = Builder(x=MAPS, w=FILTER, b=BIAS, c=MAPS).layer("conv", "x w b", "y", **CONV)
    chain = builder.layer("add", "y c c", "z").chain(weights=["w"])
    assert kinds(CPU, chain) == ["conv", "add"]
    chain.check(CPU, values(chain))


def test_a_value_that_others_read_is_stored() -> None:
    builder = Builder(x=MAPS, w=FILTER, b=BIAS).layer("conv", "x w b", "y", **CONV).layer("relu", "y", "z")
    chain = builder.chain("y", "z", weights=["w"])
    assert kinds(CPU, chain) == ["conv", "relu"]
    chain.check(CPU, values(chain))


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
    assert kinds(CPU, forward) == ["conv+leaky_relu"]
    forward.check(CPU, values(forward))
    builder = Builder(registry, w=FILTER, dy=MAPS, x=MAPS).op("conv_input_grad", "w dy", "dx", CONV_GRAD)
    backward = builder.op("leaky_relu_grad", "dx x", "dz", {"slope": 0.1}).chain(weights=["w"])
    assert kinds(CPU, backward) == ["conv_input_grad+leaky_relu_grad"]
    backward.check(CPU, values(backward))


def test_updates_of_several_parameters_are_those_of_each() -> None:
    check_updates(CPU, 12, 70_000, 7, 4096, 1000)
    check_updates(CPU, *[257] * AT_ONCE)


@pytest.mark.parametrize("limit", [0.5, 1e3])
def test_gradients_are_clipped_together(limit: float) -> None:
    chain = clipping(12, 70_000, 7, limit=limit).chain("c0", "c1", "c2")
    given = values(chain)
    chain.check(CPU, given)
    norm = float(np.sqrt(sum((array.astype(np.float64) ** 2).sum() for array in given.values())))
    found = chain.run(CPU, given)
    assert np.sqrt(sum((array.astype(np.float64) ** 2).sum() for array in found.values())) == pytest.approx(
        min(norm, limit), rel=1e-6
    )


def test_a_norm_that_is_no_number_clips_to_none() -> None:
    chain = clipping(5, 3, limit=1.0).chain("c0", "c1")
    found = chain.run(CPU, {"g0": np.array([1, 2, np.nan, 4, 5], np.float32), "g1": np.ones(3, np.float32)})
    assert all(np.isnan(array).all() for array in found.values())


@pytest.mark.parametrize("shape", [(3, 4111), (2, 5, 3, 7)])
@pytest.mark.parametrize("part", [(0, 1), (1, 2), (2, 3)])
def test_dropout_draws_the_reference_mask(shape: tuple[int, ...], part: tuple[int, int]) -> None:
    attrs = {**DROPOUT, "p": 0.3, "first": 2**31 + 5, "part": part}
    chain = Builder(x=f32(*shape), s=STEPS).op("dropout", "x s", "y", attrs).chain()
    found = chain.run(CPU, {"x": np.ones(shape, np.float32), "s": np.asarray(STEP)})["y"]
    size = int(np.prod(shape[1:]))
    where = {"first_index": attrs["first"], "first_element": part[0] * size}
    kept = philox.dropout_mask(attrs["seed"], attrs["stream"], STEP, shape[0], size, attrs["p"], **where)
    np.testing.assert_array_equal(found, np.where(kept.reshape(shape), np.float32(1 / 0.7), np.float32(0)))


@pytest.mark.parametrize("dtype", ["f32", "i32", "i64", "u8"])
def test_copies_of_any_type(dtype: str) -> None:
    chain = Builder(x=TensorType(dtype, (3, 5))).op("copy", "x", "y", {"source": DEVICE, "bytes": 0}).chain()
    chain.check(CPU, values(chain))


def test_not_a_number_stays_one() -> None:
    x = np.zeros(MAPS.shape, np.float32)
    x[1, 2, 3, 4] = np.nan
    forward = Builder(x=MAPS).layer("maxpool", "x", "z i", **POOL).chain()
    assert np.isnan(forward.run(CPU, {"x": x})["z"]).sum() == 1
    normal = Builder(x=MAPS).layer("lrn", "x", "y", alpha=0.3).layer("relu", "y", "z").chain()
    assert np.isnan(normal.run(CPU, {"x": x})["z"]).sum() == 5
    scores = np.zeros((3, 4), np.float32)
    scores[1, 2] = np.nan
    label = TensorType("i32", (3,))
    loss = Builder(x=f32(3, 4), l=label).layer("softmax_cross_entropy", "x l", "y").chain()
    assert np.isnan(loss.run(CPU, {"x": scores, "l": np.zeros(3, np.int32)})["y"])


EXAMPLES = settings(max_examples=12, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    check_layer(CPU, sample)


@EXAMPLES
@given(st.sampled_from(LRNS), st.tuples(*(st.integers(1, most) for most in (3, 70, 9, 9))))
def test_lrn_of_any_shape(window: Sample, shape: tuple[int, ...]) -> None:
    check_layer(CPU, Sample("lrn", window.given, (shape,)))


@EXAMPLES
@given(st.tuples(*(st.integers(1, most) for most in (300, 90, 700))))
def test_linear_of_any_shape(sizes: tuple[int, int, int]) -> None:
    check_layer(CPU, Sample("linear", {"units": sizes[2]}, ((sizes[0], sizes[1]),)))
