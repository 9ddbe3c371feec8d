"""Every strategy of the CPU's convolutions and linear layers, whichever of them the costs choose."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from alexdsl_cpu import backend as make_backend
from alexdsl_cpu.conv.sheet import sheet
from alexdsl_cpu.conv.transforms import Matrix, line, transforms, transpose

from alexdsl.layers.window import Axis
from benchmarks.strategies import error, loaded
from benchmarks.strategies import products as products_of
from tests.backends.test_cpu_kernels import BIAS, CONV, CONV_GRAD, FILTER, MAPS, Builder, check_layer, layer_ops, values
from tests.backends.test_cpu_kernels import _cache as _cache  # the kernels of both files, compiled once
from tests.layers.samples import REGISTRY, Sample

WINOGRAD = 2e-5
"""What Winograd may lose: ten times what others do, and far from what training notices."""
CONVOLUTIONS = {
    "three taps": Sample("conv", {"maps": 21, "kernel": 3, "pad": 1}, ((5, 19, 7, 8),)),
    "no pad": Sample("conv", {"maps": 3, "kernel": 3, "bias": "none"}, ((2, 4, 9, 5),)),
    "a pad beyond the window": Sample("conv", {"maps": 2, "kernel": 3, "pad": 4}, ((3, 3, 3, 2),)),
    "uneven pads": Sample("conv", {"maps": 18, "kernel": 3, "pad": (0, 2, 1, 0)}, ((4, 17, 5, 6),)),
    "groups": Sample("conv", {"maps": 10, "kernel": 3, "pad": 1, "groups": 2}, ((3, 36, 6, 6),)),
    "towers": Sample("conv", {"maps": 8, "kernel": 3, "pad": 1}, ((2, 6, 13, 13),), towers=2),
    "five taps": Sample("conv", {"maps": 33, "kernel": 5, "pad": 2}, ((3, 18, 9, 6),)),
    "five taps in groups": Sample("conv", {"maps": 4, "kernel": 5, "groups": 2}, ((2, 4, 7, 9),)),
    "strides": Sample("conv", {"maps": 48, "kernel": 5, "stride": 2, "round": "floor"}, ((3, 3, 14, 36),)),
    "neighbours only": Sample("conv", {"maps": 32, "kernel": (3, 1), "dilation": (2, 1)}, ((9, 17, 9, 16),)),
}


def offered(sample: Sample) -> list[str]:
    """The strategies of a layer's op and of its gradients."""
    backend = make_backend(REGISTRY)
    found = [
        strategy.name
        for op, types, _ in layer_ops(sample)
        for strategy in backend.strategies(op, [types[n] for n in op.operands], [r.type for r in op.results if r.type])
    ]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize(
    ("name", "strategy"), [(name, strategy) for name, sample in CONVOLUTIONS.items() for strategy in offered(sample)]
)
def test_every_strategy_of_a_convolution_is_the_reference(name: str, strategy: str) -> None:
    check_layer(CONVOLUTIONS[name], strategy, WINOGRAD if strategy.startswith("winograd") else 2e-6)


def test_what_is_offered() -> None:
    assert offered(CONVOLUTIONS["three taps"]) == ["im2col", "winograd4", "winograd5", "winograd6"]
    assert offered(CONVOLUTIONS["five taps"]) == ["im2col", "winograd3", "winograd4"]
    assert offered(CONVOLUTIONS["strides"]) == ["im2col", "in_place"]
    assert offered(CONVOLUTIONS["neighbours only"]) == ["im2col", "in_place"]
    assert offered(Sample("conv", {"maps": 4, "kernel": (3, 5)}, ((2, 4, 9, 9),))) == ["im2col"]
    assert offered(Sample("conv", {"maps": 4, "kernel": 7}, ((2, 4, 9, 9),))) == ["im2col"]


@pytest.mark.parametrize("strategy", ["im2col", "winograd4"])
def test_epilogues_of_every_strategy(strategy: str) -> None:
    forward = Builder(x=MAPS, w=FILTER, b=BIAS).layer("conv", "x w b", "y", **CONV).layer("sigmoid", "y", "z")
    backward = Builder(w=FILTER, dy=MAPS, y=MAPS)
    backward.op("conv_input_grad", "w dy", "dx", CONV_GRAD).op("relu_grad", "dx y", "dz", {})
    for builder in (forward, backward):
        chain = builder.chain(weights=["w"])
        chain.strategy = strategy
        assert [op.attrs["strategy"] for op in chain.program() if op.launches] == [strategy]
        chain.check(values(chain), WINOGRAD)


@pytest.mark.parametrize("strategy", ["blas", "registers"])
@pytest.mark.parametrize("sizes", [(8, 96, 16), (7, 65, 40), (33, 131, 64), (1, 9, 5), (130, 1000, 24)])
def test_every_strategy_of_a_linear_layer_is_the_reference(sizes: tuple[int, int, int], strategy: str) -> None:
    images, inputs, units = sizes
    check_layer(Sample("linear", {"units": units}, ((images, inputs),)), strategy)


def test_alexnets_errors() -> None:
    """At AlexNet's own channels; sums there are the longest."""
    for name, graph in products_of("specs/alexnet.net", 2):
        op = graph.ops[-1]
        if not name.startswith(("conv2", "conv3")):
            continue
        types = graph.types(op.operands)
        for strategy in make_backend(REGISTRY).strategies(op, types, [r.type for r in op.results if r.type]):
            executable = loaded(graph, strategy.name, 2)
            allowed = WINOGRAD if strategy.name.startswith("winograd") else 1e-6
            assert error(graph, executable) < allowed, (name, strategy.name)


def test_the_costs_choose_for_alexnet() -> None:
    chosen = {}
    for name, graph in products_of("specs/alexnet.net", 128):
        op = graph.ops[-1]
        types = graph.types(op.operands)
        found = make_backend(REGISTRY).strategies(op, types, [r.type for r in op.results if r.type])
        chosen[name] = min(found, key=lambda strategy: strategy.cost).name
    assert {chosen[name] for name in chosen if name.startswith("conv1")} == {"in_place"}
    assert {chosen[name] for name in chosen if name.startswith("conv2")} == {"winograd4"}
    assert all(strategy.startswith("winograd") for name, strategy in chosen.items() if name[:5] in ("conv3", "conv4"))
    assert chosen["fc6 linear_input_grad"] == "registers"
    assert chosen["fc6 linear"] == "blas"


def test_few_channels_are_not_worth_a_transform() -> None:
    sample = Sample("conv", {"maps": 4, "kernel": 3, "pad": 1}, ((32, 1, 28, 28),))
    op, types, _ = next(layer_ops(sample))
    found = make_backend(REGISTRY).strategies(
        op, [types[n] for n in op.operands], [r.type for r in op.results if r.type]
    )
    assert min(found, key=lambda strategy: strategy.cost).name == "im2col"


@pytest.mark.parametrize(("m", "r"), [(1, 3), (2, 3), (4, 3), (6, 3), (3, 5), (4, 5), (1, 1)])
def test_transforms_give_the_correlation_exactly(m: int, r: int) -> None:
    found, n = transforms(m, r), m + r - 1
    for j, k in product(range(n), range(r)):
        data, taps = [Fraction(int(i == j)) for i in range(n)], [Fraction(int(i == k)) for i in range(r)]
        products = [a * b for a, b in zip(times(found.input, data), times(found.kernel, taps), strict=True)]
        assert times(found.output, products) == [Fraction(int(i + k == j)) for i in range(m)]


def times(matrix: Matrix, vector: list[Fraction]) -> list[Fraction]:
    return [sum((a * b for a, b in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]


def test_too_few_points() -> None:
    with pytest.raises(ValueError, match="needs 8 points"):
        transforms(7, 3)


@pytest.mark.parametrize(("m", "r"), [(4, 3), (5, 3), (6, 3), (3, 5), (4, 5)])
def test_straight_line_code_is_the_matrix(m: int, r: int) -> None:
    given = transforms(m, r)
    random = np.random.default_rng(0)
    for matrix in (given.output, given.kernel, given.input, transpose(given.output), transpose(given.kernel)):
        x, y = random.integers(-9, 9, 2 * len(matrix[0])).astype(float), np.zeros(3 * len(matrix) + 1)
        scope = {
            "f32": float, "load": lambda a, at: a[at], "store": lambda a, at, value: a.__setitem__(at, value),
            "x": x, "at": 1, "step": 2, "y": y, "to": 1, "apart": 3,
        }  # fmt: skip
        exec("\n".join(line(matrix).lines), scope)
        np.testing.assert_allclose(y[1::3], np.array(matrix, float) @ x[1::2], atol=1e-9)


def test_opposite_points_share_their_sums() -> None:
    signs = sum(text.count("*") for text in line(transforms(6, 3).input).lines)
    assert signs < sum(abs(value) not in (0, 1) for row in transforms(6, 3).input for value in row)


def axis(size: int, kernel: int, pad: int) -> Axis:
    return Axis(size, kernel, 1, pad, pad, 1, size + 2 * pad - kernel + 1)


def test_images_share_a_sheet_where_that_takes_fewer_tiles() -> None:
    maps = axis(13, 3, 1)
    assert (sheet(9, maps, maps, 6).down, sheet(9, maps, maps, 6).across, sheet(9, maps, maps, 6).tiles) == (3, 3, 49)
    assert sheet(1, maps, maps, 6).tiles == 9
    exact = axis(27, 5, 2)
    assert (sheet(8, exact, exact, 3).down, sheet(8, exact, exact, 3).tiles) == (1, 8 * 81)
