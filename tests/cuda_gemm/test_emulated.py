"""The PTX of the products' kernels, run by the emulator with all its checks, gives what the references give."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from alexdsl_cuda.dialect import CUDA
from alexdsl_cuda.gemm.geometry import Geometry
from alexdsl_cuda.gemm.plan import plan_forward, plan_input_grad, plan_weight_grad
from alexdsl_cuda.gemm.tile import Tile
from cuda_gemm.cases import ADD, RELU, Case, case, conv, padded_after

from alexdsl.ir.kernels import render
from tests.cuda_emulator.numba_arguments import arguments

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="needs numba-cuda to compile: pip install alexdsl[cuda]"
)

GEOMETRIES = {
    "conv1": conv(4, 3, 35, 48, 11, stride=4),
    "conv1, both towers": conv(4, 3, 35, 96, 11, stride=4),
    "conv2": conv(1, 48, 13, 128, 5, pad=2),
    "conv2 in groups": conv(1, 32, 9, 96, 5, pad=2, groups=2),
    "conv3": conv(2, 64, 7, 96, 3, pad=1),
    "a stride": conv(1, 32, 11, 64, 3, stride=2, pad=1),
    "few channels": conv(1, 3, 9, 20, 3, pad=1),
    "an image, 3x3": conv(2, 3, 16, 64, 3, pad=1),
    "an image, 7x7 under a stride": conv(2, 3, 28, 64, 7, stride=2, pad=3),
    "an image, few maps": conv(1, 3, 12, 40, 5, pad=2),
    "odd sizes": conv(2, 7, 6, 5, 3, pad=1),
    "padding at the end": padded_after(1, 16, 7, 16, 2),
    "a depth that is no slab's": Geometry.linear(40, 64, 84),
    "linear": Geometry.linear(70, 136, 200),
    "one image": Geometry.linear(1, 200, 264),
    "few classes": Geometry.linear(33, 72, 10),
}
TILES = {
    "128x128": Tile(128, 128, 16),
    "128x96": Tile(128, 96, 16),
    "96x128": Tile(96, 128, 16),
    "256x48": Tile(256, 48, 16),
    "192x64": Tile(192, 64, 16),
    "64x64 shallow": Tile(64, 64, 8),
}


LAYERS = {
    "conv1": conv(4, 3, 227, 48, 11, stride=4),
    "conv2": conv(2, 48, 27, 128, 5, pad=2),
    "conv3": conv(2, 256, 13, 192, 3, pad=1),
    "conv4": conv(2, 192, 13, 192, 3, pad=1),
    "conv5": conv(2, 192, 13, 128, 3, pad=1),
    "fc6": Geometry.linear(20, 9216, 2048),
    "fc8": Geometry.linear(40, 4096, 1000),
}
"""AlexNet's layers as each of its towers has them, in small batches."""


def run(
    one: Case, *, checked: bool = True, tolerance: float = 2e-5, relative: float = 1e-4, banks: bool = False
) -> None:
    """Runs a case's calls and compares; with ``banks``, no access to shared memory may wait for another's bank."""
    from alexdsl_cuda.compiler import compile_ptx
    from alexdsl_cuda.emulator import Memory, Module, check, launch

    memory = Memory()
    for name, array in one.arrays.items():
        kept = memory.array(len(array), np.float32, name)
        kept[:] = array
        if name not in (*one.expected, "workspace"):
            memory.mark_written(kept)
        one.arrays[name] = kept
    for step in one.plan.steps:
        module = Module(compile_ptx(render(step.function, step.constants, CUDA), (8, 0)))
        params = arguments(*(one.arrays[role] for role in step.args))
        if checked:
            report = check(module, "kernel", step.grid, (step.threads, 1, 1), params, memory)
            assert not report.findings, f"{one.name}\n{report}"
            shared = [a for a in report.counts.accesses if a.space == "shared"] if banks else []
            assert all(a.transfers == a.ideal for a in shared), f"{one.name}: {shared}"
        else:
            launch(module, "kernel", step.grid, (step.threads, 1, 1), params)
    for key, expected in one.expected.items():
        # Sums of many numbers of about 1: what rounding may do grows with their size.
        atol = tolerance * np.abs(expected).max()
        np.testing.assert_allclose(one.arrays[key], expected, rtol=relative, atol=atol, err_msg=f"{one.name}: {key}")


@pytest.mark.parametrize("name", sorted(GEOMETRIES))
def test_forward(name: str) -> None:
    g = GEOMETRIES[name]
    run(case(name, "forward", g, lambda: plan_forward(g, True, RELU), tail="relu"))


@pytest.mark.parametrize("name", sorted(GEOMETRIES))
def test_input_grad(name: str) -> None:
    g = GEOMETRIES[name]
    run(case(name, "input_grad", g, lambda: plan_input_grad(g, ADD), tail="add"))


@pytest.mark.parametrize("name", sorted(GEOMETRIES))
def test_weight_grad(name: str) -> None:
    g = GEOMETRIES[name]
    run(case(name, "weight_grad", g, lambda: plan_weight_grad(g, True)))


@pytest.mark.slow
@pytest.mark.parametrize("size", sorted(TILES))
def test_every_tile(size: str) -> None:
    g, tile = conv(3, 48, 9, 104, 3, pad=1), TILES[size]
    run(case(size, "forward", g, lambda: plan_forward(g, True, ADD, tile, 2), tail="add"))
    run(case(size, "input_grad", g, lambda: plan_input_grad(g, tile=tile)))
    run(case(size, "weight_grad", g, lambda: plan_weight_grad(g, False, tile, 2), bias=False))


@pytest.mark.slow
@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_alexnet(layer: str) -> None:
    g = LAYERS[layer]
    run(case(layer, "forward", g, lambda: plan_forward(g, True, RELU), tail="relu"), checked=False)
    if layer != "conv1":
        run(case(layer, "input_grad", g, lambda: plan_input_grad(g)), checked=False)
    run(case(layer, "weight_grad", g, lambda: plan_weight_grad(g, True)), checked=False)
