"""An op of two towers is what its parts make by hand: halves side by side, or partial sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from alexdsl.ir.protocol import Array, ShapeError
from tests.layers.samples import SAMPLES, SEMANTICS, Sample, Tape, differentiable, of_kinds

BLIND = ("relu", "tanh", "sigmoid", "maxpool", "avgpool", "global_avgpool", "flatten", "add", "scale", "batch_norm")
"""Kinds whose channels do not mix: towers change nothing."""


def _two(kinds: Sequence[str], sees: str = "own") -> list[Sample]:
    found = [s for s in of_kinds(*kinds) if s.towers == 2 and s.sees == sees]
    assert {s.kind for s in found} == set(kinds)
    return found


def _halves(array: Array, axis: int) -> list[Array]:
    return np.split(array, 2, axis)


def _whole_and_towers(sample: Sample) -> tuple[Tape, Tape]:
    arrays = sample.arrays()
    return Tape(Sample(sample.kind, sample.given, sample.shapes), arrays), Tape(sample, arrays)


def _same(a: Tape, b: Tape) -> None:
    dy = np.random.default_rng(3).normal(size=np.shape(a.outputs[0]))
    pairs = [*zip(a.outputs, b.outputs, strict=True), *zip(a.backward(dy), b.backward(dy), strict=True)]
    for ours, theirs in pairs:
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("sample", _two(BLIND), ids=str)
def test_towers_change_nothing_where_channels_do_not_mix(sample: Sample) -> None:
    _same(*_whole_and_towers(sample))


@pytest.mark.parametrize("sample", _two(["conv", "linear", "lrn"], sees="all"), ids=str)
def test_towers_that_see_all_are_one(sample: Sample) -> None:
    _same(*_whole_and_towers(sample))


@pytest.mark.parametrize("sample", _two(["dropout"]), ids=str)
def test_dropout_draws_the_same_mask_for_towers(sample: Sample) -> None:
    whole, towers = _whole_and_towers(sample)
    _same(whole, towers)
    first, second = _halves(whole.outputs[0] != 0, 1)
    assert (first != second).any()


@pytest.mark.parametrize("sample", _two(["conv", "linear", "lrn"]), ids=str)
def test_towers_that_see_themselves_are_two_layers(sample: Sample) -> None:
    x, *weights = arrays = sample.arrays()
    attrs = SEMANTICS.tower_attrs(sample.kind, sample.attrs)
    towers = Tape(sample, arrays)
    dy = np.random.default_rng(4).normal(size=towers.outputs[0].shape)
    grads = towers.backward(dy)
    for t in range(2):
        half = [_halves(x, 1)[t], *(_halves(w, 0)[t] for w in weights)]
        shapes = ((len(x), x.shape[1] // 2, *x.shape[2:]),)
        given = {**sample.given, **{k: attrs[k] for k in ("maps", "units") if k in attrs}}
        alone = Tape(Sample(sample.kind, given, shapes), half)
        np.testing.assert_allclose(_halves(towers.outputs[0], 1)[t], alone.outputs[0], rtol=1e-13)
        for i, grad in enumerate(alone.backward(_halves(dy, 1)[t])):
            whole = grads[i]
            assert grad is not None
            assert whole is not None
            np.testing.assert_allclose(_halves(whole, 0 if i else 1)[t], grad, rtol=1e-13)


@pytest.mark.parametrize("sample", _two(["conv", "linear", "lrn"], sees="all"), ids=str)
def test_what_all_towers_see_gets_the_sum_of_their_gradients(sample: Sample) -> None:
    tape = Tape(sample, sample.arrays())
    dy = np.random.default_rng(5).normal(size=tape.outputs[0].shape)
    dx = tape.backward(dy)[0]
    total = np.zeros(sample.shapes[0])
    for t in range(2):
        one = np.zeros_like(dy)
        _halves(one, 1)[t][:] = _halves(dy, 1)[t]
        part = Tape(sample, sample.arrays()).backward(one)[0]
        assert part is not None
        total += part
    assert dx is not None
    np.testing.assert_allclose(dx, total, rtol=1e-12, atol=1e-14)


def test_concat_joins_tower_by_tower() -> None:
    (sample,) = _two(["concat"])
    a, b = sample.arrays()
    tape = Tape(sample, [a, b])
    (a0, a1), (b0, b1) = _halves(a, 1), _halves(b, 1)
    np.testing.assert_array_equal(tape.outputs[0], np.concatenate([a0, b0, a1, b1], 1))
    da, db = tape.backward(tape.outputs[0])
    np.testing.assert_array_equal(da, a)
    np.testing.assert_array_equal(db, b)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.towers == 2], ids=str)
def test_costs_of_towers_add_up(sample: Sample) -> None:
    whole = Sample(sample.kind, sample.given, sample.shapes)
    cost = SEMANTICS.multiply_adds(sample.kind, sample.types, sample.attrs)
    alone = SEMANTICS.multiply_adds(whole.kind, whole.types, whole.attrs)
    assert cost == (alone if sample.sees == "all" else alone // 2)


def test_towers_must_divide_the_channels() -> None:
    with pytest.raises(ShapeError, match="share equally"):
        _ = Sample("maxpool", {"kernel": 2}, ((1, 3, 4, 4),), towers=2).result_types


def test_towers_are_sampled() -> None:
    kinds = {s.kind for s in differentiable()} - {"softmax_cross_entropy"}
    assert kinds == {s.kind for s in SAMPLES if s.towers == 2}
