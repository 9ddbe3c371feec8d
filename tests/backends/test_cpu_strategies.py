"""Every strategy of the CPU's convolutions and linear layers, whichever of them the costs choose."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from alexdsl_cpu import backend
from alexdsl_cpu.backend import CpuBackend
from alexdsl_cpu.conv.sheet import sheet
from alexdsl_cpu.conv.transforms import Matrix, line, transforms, transpose

from alexdsl.ir.backend import Strategy
from alexdsl.ir.clipping import CLIPPING
from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.protocol import Registry, Types
from alexdsl.ir.types import f32
from alexdsl.layers.window import Axis
from alexdsl.registry import registry
from alexdsl.solvers import SOLVERS
from benchmarks.strategies import error, loaded
from benchmarks.strategies import products as products_of
from tests.backends.chains import BIAS, CONV, CONV_GRAD, FILTER, MAPS, SOLVING, Builder, Target, layer_ops, values
from tests.backends.test_cpu_kernels import CPU
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
    "many maps": Sample("conv", {"maps": 64, "kernel": 3, "pad": 1}, ((10, 48, 13, 13),)),
    "by points": Sample("conv", {"maps": 256, "kernel": 3, "pad": 1}, ((5, 300, 7, 7),)),
    "by points in groups": Sample("conv", {"maps": 300, "kernel": 3, "groups": 2}, ((3, 290, 6, 9),)),
    "five taps": Sample("conv", {"maps": 33, "kernel": 5, "pad": 2}, ((3, 18, 9, 6),)),
    "five taps in groups": Sample("conv", {"maps": 4, "kernel": 5, "groups": 2}, ((2, 4, 7, 9),)),
    "strides": Sample("conv", {"maps": 48, "kernel": 5, "stride": 2, "round": "floor"}, ((3, 3, 14, 36),)),
    "strides beyond the window": Sample(
        "conv", {"maps": 5, "kernel": 2, "stride": 3, "round": "floor"}, ((2, 20, 13, 14),)
    ),
    "strides of rows": Sample("conv", {"maps": 18, "kernel": 3, "stride": (2, 1), "pad": 1}, ((3, 35, 9, 11),)),
    "wide groups": Sample("conv", {"maps": 26, "kernel": 3, "groups": 2, "pad": 1, "stride": 2}, ((1, 130, 15, 11),)),
    "neighbours only": Sample("conv", {"maps": 32, "kernel": (3, 1), "dilation": (2, 1)}, ((9, 17, 9, 16),)),
}
CASES = {
    "three taps": "im2col dots in_place winograd4 winograd5 winograd6",
    "no pad": "in_place winograd4", "a pad beyond the window": "in_place winograd6",
    "uneven pads": "dots in_place winograd5", "groups": "winograd6", "towers": "in_place winograd4",
    "many maps": "winograd6", "by points": "winograd4", "by points in groups": "winograd6",
    "five taps": "im2col in_place winograd3 winograd4", "five taps in groups": "winograd4",
    "strides": "im2col dots in_place phases", "strides beyond the window": "phases", "strides of rows": "phases",
    "neighbours only": "dots in_place", "wide groups": "dots",
}  # fmt: skip
"""Kernels take seconds to compile: each step of tiles meets some of the shapes."""


def only(wanted: str) -> Target:
    """The CPU's backend with one strategy, where it is offered."""

    def make(registry: Registry) -> CpuBackend:
        made = backend(registry)
        every = made.strategies

        def some(op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
            found = every(op, operands, results)
            return [strategy for strategy in found if strategy.name == wanted] or found

        made.strategies = some
        return made

    return Target(make, "cpu", CPU.threads)


def check_layer(sample: Sample, strategy: str, tolerance: float = 2e-6) -> list[Graph]:
    """A layer's op and the ops of its gradient under a strategy, which one of them at least has; their programs."""
    programs = []
    for chain, arrays in layer_ops(sample):
        chain.check(only(strategy), arrays, tolerance)
        programs.append(chain.program(only(strategy)))
    assert strategy in [op.attrs.get("strategy") for program in programs for op in program]
    return programs


def strategies_of(graph: Graph) -> Sequence[Strategy]:
    """What is offered for the last op of a graph."""
    op = graph.ops[-1]
    return backend(registry()).strategies(op, graph.types(op.operands), graph.types(r.name for r in op.results))


def offered(sample: Sample) -> list[str]:
    """The strategies of a layer's op and of its gradients."""
    graphs = [chain.fused(CPU) for chain, _ in layer_ops(sample)]
    return list(dict.fromkeys(strategy.name for graph in graphs for strategy in strategies_of(graph)))


def cheapest(graph: Graph) -> str:
    return min(strategies_of(graph), key=lambda strategy: strategy.cost).name


@pytest.mark.parametrize(
    ("name", "strategy"), [(name, strategy) for name, strategies in CASES.items() for strategy in strategies.split()]
)
def test_every_strategy_of_a_convolution_is_the_reference(name: str, strategy: str) -> None:
    programs = check_layer(CONVOLUTIONS[name], strategy, WINOGRAD if strategy.startswith("winograd") else 2e-6)
    stages = any(kernel.startswith("winograd_points") for program in programs for kernel in program.kernels)
    assert stages == name.startswith("by points")


def test_what_is_offered() -> None:
    three, five = CONVOLUTIONS["three taps"], CONVOLUTIONS["five taps"]
    assert offered(three) == ["im2col", "dots", "in_place", "winograd4", "winograd5", "winograd6"]
    assert offered(five) == ["im2col", "dots", "in_place", "winograd3", "winograd4"]
    assert offered(CONVOLUTIONS["strides"]) == ["im2col", "dots", "in_place", "phases"]
    assert offered(CONVOLUTIONS["neighbours only"]) == ["im2col", "dots", "in_place"]
    assert offered(Sample("conv", {"maps": 3, "kernel": (3, 5)}, ((2, 4, 9, 9),))) == ["im2col", "in_place"]
    assert offered(Sample("conv", {"maps": 4, "kernel": 3, "groups": 2, "dilation": 2}, ((2, 4, 9, 9),))) == ["im2col"]


@pytest.mark.parametrize("strategy", ["im2col", "winograd4"])
def test_epilogues_of_every_strategy(strategy: str) -> None:
    forward = Builder(x=MAPS, w=FILTER, b=BIAS).layer("conv", "x w b", "y", **CONV).layer("sigmoid", "y", "z")
    backward = Builder(w=FILTER, dy=MAPS, y=MAPS)
    backward.op("conv_input_grad", "w dy", "dx", CONV_GRAD).op("relu_grad", "dx y", "dz", {})
    for builder in (forward, backward):
        chain = builder.chain(weights=["w"])
        program = chain.program(only(strategy))
        assert [op.attrs["strategy"] for op in program if op.launches] == [strategy]
        chain.check(only(strategy), values(chain), WINOGRAD)


@pytest.mark.parametrize("strategy", ["blas", "registers", "dots", "in_place"])
@pytest.mark.parametrize("sizes", [(8, 96, 16), (7, 65, 40), (33, 131, 64), (130, 1000, 24), (9, 1300, 30)])
def test_every_strategy_of_a_linear_layer_is_the_reference(sizes: tuple[int, int, int], strategy: str) -> None:
    images, inputs, units = sizes
    check_layer(Sample("linear", {"units": units}, ((images, inputs),)), strategy)


@pytest.mark.parametrize("strategy", ["blas", "registers"])
@pytest.mark.parametrize("sizes", [(8, 96, 16), (7, 865, 40), (33, 1200, 64), (2, 20, 9)])
def test_a_gradient_goes_into_its_weights_at_once(sizes: tuple[int, int, int], strategy: str) -> None:
    """Which weights are reached twice, and columns beyond a span, show in the sizes."""
    images, inputs, units = sizes
    weight = f32(units, inputs)
    arrays = {"x": f32(images, inputs), "dy": f32(images, units), "weight": weight, "velocity": weight, "rate": f32()}
    for (kind, settings), bias in product((SOLVING[name] for name in SOLVING if "adam" not in name), (True, False)):
        builder = Builder(REGISTRY.extended(SOLVERS), **arrays)
        grads = "dw db" if bias else "dw"
        builder.op("linear_weight_grad", "x dy", grads, {"units": units, "bias": bias})
        builder.op(kind, "weight velocity dw rate", "weight.new velocity.new", settings)
        chain = builder.chain("weight.new", "velocity.new", *grads.split()[1:])
        assert [op.kind for op in chain.fused(only(strategy)) if op.operands] == [f"linear_weight_grad+{kind}"]
        if images == 8 or settings["velocity"] == "inside":
            chain.check(only(strategy), values(chain))


def test_a_gradient_that_is_clipped_is_written() -> None:
    arrays = {"x": f32(8, 96), "dy": f32(8, 16), "weight": f32(16, 96), "velocity": f32(16, 96), "rate": f32()}
    builder = Builder(REGISTRY.extended(SOLVERS).extended(CLIPPING), **arrays)
    builder.op("linear_weight_grad", "x dy", "dw", {"units": 16, "bias": False})
    builder.op("square_sum", "dw", "total", {}).op("clip", "dw total", "clipped", {"limit": 0.1})
    builder.op("sgd", "weight velocity clipped rate", "weight.new velocity.new", SOLVING["sgd inside"][1])
    chain = builder.chain()
    assert len([op for op in chain.fused(CPU) if op.operands]) == 4
    chain.check(CPU, values(chain))


@pytest.mark.parametrize("strategy", ["blas", "registers", "dots", "in_place"])
def test_a_window_that_is_the_whole_image_makes_a_linear_layer(strategy: str) -> None:
    for options in ({}, {"bias": "none"}):
        check_layer(Sample("conv", {"maps": 24, "kernel": 4, **options}, ((9, 5, 4, 4),)), strategy)


@pytest.mark.parametrize("sizes", [(1, 2500, 13), (2, 15, 9), (3, 1040, 33), (6, 40, 4), (25, 17, 31)])
def test_dots_of_few_images_of_odd_rows_and_of_long_ones(sizes: tuple[int, int, int]) -> None:
    images, inputs, units = sizes
    for options in ({}, {"bias": "none"}):
        check_layer(Sample("linear", {"units": units, **options}, ((images, inputs),)), "dots")


def test_alexnets_errors() -> None:
    """At AlexNet's own channels; sums there are the longest."""
    for name, graph in products_of("specs/alexnet.net", 2):
        layer = name.split()[0]
        if layer in ("conv2", "conv3"):
            worst = strategies_of(graph)[-1].name
            assert worst == {"conv2": "winograd4", "conv3": "winograd6"}[layer]
            assert 1e-6 < error(graph, loaded(graph, worst, 2)) < WINOGRAD, name


def test_the_costs_choose_for_alexnet() -> None:
    chosen = {name: cheapest(graph) for name, graph in products_of("specs/alexnet.net", 128)}
    layers = {name[:5]: {strategy for n, strategy in chosen.items() if n[:5] == name[:5]} for name in chosen}
    assert layers["conv1"] == {"in_place"}
    assert layers["conv2"] == {"winograd4"}
    assert all(strategy.startswith("winograd") for layer in ("conv3", "conv4", "conv5") for strategy in layers[layer])
    assert chosen["fc6 linear_input_grad"] == "registers"
    assert chosen["fc6 linear"] == "blas"
    assert {cheapest(g) for n, g in products_of("specs/alexnet.net", 1) if n.endswith(" linear")} == {"dots"}
    few = {name: cheapest(graph) for name, graph in products_of("specs/alexnet.net", 16)}
    assert few["fc6 linear_input_grad"] == "in_place"


def test_few_channels_are_not_worth_a_transform() -> None:
    chain, _ = next(iter(layer_ops(Sample("conv", {"maps": 4, "kernel": 3, "pad": 1}, ((32, 1, 28, 28),)))))
    assert cheapest(chain.fused(CPU)) == "in_place"


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
    matrix = transforms(6, 3).input
    terms = sum(len(row) - row.count(Fraction(0)) for row in matrix)
    text = "\n".join(line(matrix).lines)
    assert text.count(" + ") + text.count(" - ") < 0.7 * terms + 2 * len(matrix)


def axis(size: int, kernel: int, pad: int) -> Axis:
    return Axis(size, kernel, 1, pad, pad, 1, size + 2 * pad - kernel + 1)


def test_images_share_a_sheet_where_that_takes_fewer_tiles() -> None:
    maps = axis(13, 3, 1)
    assert (sheet(9, maps, maps, 6).down, sheet(9, maps, maps, 6).across, sheet(9, maps, maps, 6).tiles) == (3, 3, 49)
    assert sheet(1, maps, maps, 6).tiles == 9
    exact = axis(27, 5, 2)
    assert (sheet(8, exact, exact, 3).down, sheet(8, exact, exact, 3).tiles) == (1, 8 * 81)
