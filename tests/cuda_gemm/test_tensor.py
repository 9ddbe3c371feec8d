"""Products on tensor cores: what the emulator makes of their PTX, with all its checks, and who offers them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from alexdsl_cuda.conv import Conv
from alexdsl_cuda.gemm.calls import Plan
from alexdsl_cuda.gemm.geometry import Geometry
from alexdsl_cuda.gemm.plan_tensor import plan_tensor_forward, plan_tensor_input_grad, plan_tensor_weight_grad
from alexdsl_cuda.gemm.warps import CONVOLVING, CORRELATING, WarpTile
from alexdsl_cuda.linear import Linear
from alexdsl_cuda.offer import Offer
from cuda_gemm.cases import ADD, REGISTRY, RELU, Case, case, conv, halved, padded_after
from cuda_gemm.test_emulated import run

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Attr, Op, Result
from alexdsl.ir.types import TensorType
from tests.cuda_emulator.numba_arguments import arguments

needs_cuda = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="needs numba-cuda to compile: pip install alexdsl[cuda]"
)

GEOMETRIES = {
    "conv2": conv(1, 48, 9, 128, 5, pad=2),
    "in groups": conv(1, 80, 7, 144, 3, pad=1, groups=2),
    "conv3": conv(2, 64, 7, 96, 3, pad=1),
    "a stride": conv(1, 32, 11, 64, 3, stride=2, pad=1),
    "dilation": conv(1, 16, 9, 24, 3, pad=2, dilation=2),
    "no padding": conv(2, 32, 6, 40, 3),
    "padding at the end": padded_after(1, 16, 7, 16, 2),
    "a pixel's window": conv(1, 40, 8, 136, 1),
    "linear": Geometry.linear(70, 136, 200),
    "even linear": Geometry.linear(128, 128, 128),
    "one image": Geometry.linear(1, 200, 264),
}


TILES = [
    *((op, tile) for op in ("forward", "input_grad") for tile in CONVOLVING),
    *(("weight_grad", tile) for tile in CORRELATING),
]


def tensor_case(
    name: str, op: str, *, halves: bool = True, tile: WarpTile | None = None, splits: int | None = None
) -> Case:
    g = GEOMETRIES[name]
    plans: dict[str, Callable[[], Plan | None]] = {
        "forward": lambda: plan_tensor_forward(g, True, RELU, tile, splits),
        "input_grad": lambda: plan_tensor_input_grad(g, ADD, tile, splits),
        "weight_grad": lambda: plan_tensor_weight_grad(g, True, tile, splits),
    }
    tails = {"forward": "relu", "input_grad": "add", "weight_grad": ""}
    return case(f"{name}: {op}", op, g, plans[op], tail=tails[op], halves=halves)


@needs_cuda
@pytest.mark.parametrize("op", ["forward", "input_grad", "weight_grad"])
@pytest.mark.parametrize("name", sorted(GEOMETRIES))
def test_rounding_the_operands_is_all_that_is_lost(name: str, op: str) -> None:
    if (name, op) != ("a stride", "input_grad"):
        run(tensor_case(name, op), tolerance=1e-5, relative=0, banks=True)


@needs_cuda
@pytest.mark.parametrize(("op", "tile"), TILES, ids=str)
def test_every_tile(op: str, tile: WarpTile) -> None:
    one = tensor_case("in groups", op, tile=tile)
    assert one.plan.tile is tile
    run(one, tolerance=1e-5, relative=0, banks=True)


@needs_cuda
@pytest.mark.parametrize("op", ["forward", "input_grad", "weight_grad"])
def test_split_depths(op: str) -> None:
    one = tensor_case("in groups", op, splits=2)
    assert one.plan.splits == 2
    run(one, tolerance=1e-5, relative=0, banks=True)


@needs_cuda
def test_it_is_near_what_fp32_makes() -> None:
    run(tensor_case("conv3", "forward", halves=False), tolerance=1e-2, relative=0)
    with pytest.raises(AssertionError):
        run(tensor_case("conv3", "forward", halves=False), tolerance=1e-4, relative=0)


@needs_cuda
def test_operands_are_rounded_to_nearest_even() -> None:
    from alexdsl_cuda.compiler import compile_ptx
    from alexdsl_cuda.dialect import CUDA
    from alexdsl_cuda.emulator import Module, launch
    from alexdsl_cuda.gemm.halves import HALVERS, halves

    from alexdsl.ir.kernels import render

    ties = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x3F817FFF, 0x00008000, 0xBF818000], np.uint32)
    x = np.zeros(16, np.float32)
    x[:6], x[6:9] = ties.view(np.float32), (np.inf, -np.inf, np.float32(3.4e38))
    work = np.zeros(12, np.float32)
    source = render(halves, {"FIRST": 4, "COUNT": 16, "HALVERS": HALVERS}, CUDA)
    launch(Module(compile_ptx(source, (8, 0))), "kernel", (1, 1, 1), (HALVERS, 1, 1), arguments(x, work))
    found = (work[4:].view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(found, halved(x))
    assert not work[:4].any()


def strategies(
    offer: Offer, kind: str, operands: list[tuple[int, ...]], result: tuple[int, ...], **attrs: Attr
) -> Mapping[str, Strategy]:
    types = [TensorType("f32", shape) for shape in operands]
    op = Op(kind, tuple(f"v{i}" for i in range(len(types))), (Result("y", TensorType("f32", result)),), attrs)
    return {s.name: s for s in offer.strategies(op, types, [TensorType("f32", result)])}


def test_what_is_offered_in_bf16() -> None:
    window = {"kernel": (3, 3), "stride": (1, 1), "pad": (1, 1, 1, 1), "dilation": (1, 1), "round": "floor"}
    conv_attrs = {**window, "groups": 1, "bias": False, "maps": 16}
    made = strategies(Conv(REGISTRY), "conv", [(2, 8, 5, 5), (16, 8, 3, 3)], (2, 16, 5, 5), **conv_attrs)
    assert {name: s.precision for name, s in made.items()} == {"simt": "fp32", "tensor": "bf16"}
    assert made["tensor"].workspace >= 2 * (2 * 8 * 25 + 16 * 8 * 9)
    few = strategies(Conv(REGISTRY), "conv", [(2, 3, 5, 5), (16, 3, 3, 3)], (2, 16, 5, 5), **conv_attrs)
    assert list(few) == ["simt"]
    linear = strategies(Linear(REGISTRY), "linear", [(4, 40), (12, 40)], (4, 12), units=12, bias=False)
    assert list(linear) == ["simt", "tensor"]
    long = {**conv_attrs, "kernel": (16, 16), "pad": (8, 7, 8, 7)}
    assert list(strategies(Conv(REGISTRY), "conv", [(2, 8, 16, 16), (16, 8, 16, 16)], (2, 16, 16, 16), **long)) == [
        "simt"
    ]
    odd = strategies(Linear(REGISTRY), "linear", [(4, 40), (10, 40)], (4, 10), units=10, bias=False)
    assert list(odd) == ["simt"]
