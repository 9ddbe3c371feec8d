"""What AlexNet's kernels are compiled to: no GPU is needed to see that nothing is spilled and that loops multiply."""

from __future__ import annotations

import importlib.util
from functools import cache

import pytest
from alexdsl_cuda.dialect import CUDA
from alexdsl_cuda.gemm.calls import Plan
from alexdsl_cuda.gemm.geometry import Geometry
from alexdsl_cuda.gemm.plan import plan_forward, plan_input_grad, plan_weight_grad
from cuda_gemm.cases import RELU, conv

from alexdsl.ir.kernels import render

BATCH = 128
TOWERS = {
    "conv1": conv(BATCH, 3, 227, 48, 11, stride=4),
    "conv2": conv(BATCH, 48, 27, 128, 5, pad=2),
    "conv3": conv(BATCH, 256, 13, 192, 3, pad=1),
    "conv4": conv(BATCH, 192, 13, 192, 3, pad=1),
    "conv5": conv(BATCH, 192, 13, 128, 3, pad=1),
    "fc6": Geometry.linear(BATCH, 9216, 2048),
    "fc7": Geometry.linear(BATCH, 4096, 2048),
    "fc8": Geometry.linear(BATCH, 4096, 1000),
}
"""AlexNet's layers as each of its two towers has them."""
WHOLE = {
    "conv1": conv(BATCH, 3, 227, 96, 11, stride=4),
    "conv2": conv(BATCH, 96, 27, 256, 5, pad=2, groups=2),
    "conv3": conv(BATCH, 256, 13, 384, 3, pad=1),
    "conv4": conv(BATCH, 384, 13, 384, 3, pad=1, groups=2),
    "conv5": conv(BATCH, 384, 13, 256, 3, pad=1, groups=2),
    "fc6": Geometry.linear(BATCH, 9216, 4096),
    "fc7": Geometry.linear(BATCH, 4096, 4096),
}
"""The same layers with groups in place of towers."""
LAYERS = [("tower", name) for name in TOWERS] + [("whole", name) for name in WHOLE]
OPS = ("forward", "input_grad", "weight_grad")
IN_VAIN = {("tower", "conv1", "weight_grad"): 1.19, ("whole", "conv1", "weight_grad"): 1.19}
"""Executed over useful work where it is more than elsewhere: a window's row is 33 floats, in 9 quads, and of three
blocks of four rows of windows, eleven are there."""
PLANS = [(*layer, op) for layer in LAYERS for op in OPS if (layer[1], op) != ("conv1", "input_grad")]


@cache
def plan(kind: str, layer: str, op: str) -> Plan:
    g = geometry(kind, layer)
    if op == "forward":
        return plan_forward(g, True, RELU)
    return plan_input_grad(g) if op == "input_grad" else plan_weight_grad(g, True)


def geometry(kind: str, layer: str) -> Geometry:
    return (TOWERS if kind == "tower" else WHOLE)[layer]


@pytest.mark.parametrize(("kind", "layer", "op"), PLANS)
def test_little_is_multiplied_in_vain(kind: str, layer: str, op: str) -> None:
    most = IN_VAIN.get((kind, layer, op), 1.15)
    assert 1 <= plan(kind, layer, op).executed / geometry(kind, layer).multiply_adds <= most + 0.005


@pytest.mark.parametrize(("kind", "layer", "op"), PLANS)
def test_every_multiprocessor_has_work(kind: str, layer: str, op: str) -> None:
    grid = plan(kind, layer, op).product.grid
    assert grid[0] * grid[1] * grid[2] >= 0.85 * 108


@pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="needs numba-cuda to compile: pip install alexdsl[cuda]"
)
@pytest.mark.parametrize("capability", [(8, 0), pytest.param((9, 0), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize(("kind", "layer", "op"), PLANS)
def test_loops_multiply_and_nothing_is_spilled(
    kind: str, layer: str, op: str, capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: str
) -> None:
    from alexdsl_cuda.analysis import MissingTool, analyse

    # Nothing from the cache: how long compiling takes is of interest, too.
    monkeypatch.setenv("ALEXDSL_CACHE", str(tmp_path))
    step = plan(kind, layer, op).product
    try:
        report = analyse(render(step.function, step.constants, CUDA), capability, step.threads)
    except MissingTool as missing:
        pytest.skip(str(missing))
    assert (report.stack, report.spills, report.local, report.doubles, report.calls) == (0, 0, 0, 0, 0)
    loop = report.loop
    least = 0.80 if layer == "conv1" else 0.86 if layer.startswith("conv") else 0.90
    assert loop.share >= least, loop.mix
    assert loop.ahead is not None
    assert loop.ahead >= 200
    assert loop.shared_wide == 1
    assert loop.global_wide == 1
    assert report.registers <= (128 if step.threads >= 256 else 168)
    assert report.blocks * step.threads >= 320
    assert report.seconds < 5
    if (layer, op) != ("conv1", "weight_grad"):
        assert report.stores_wide == 1
