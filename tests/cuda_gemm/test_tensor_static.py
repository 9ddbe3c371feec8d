"""What AlexNet's products on tensor cores are compiled to: no GPU is needed to see what their loops are made of."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping

import pytest
from alexdsl_cuda.dialect import CUDA
from alexdsl_cuda.gemm.calls import Plan
from alexdsl_cuda.gemm.plan_tensor import plan_tensor_forward, plan_tensor_input_grad, plan_tensor_weight_grad
from cuda_gemm.cases import RELU
from cuda_gemm.test_product_code import PLANS, geometry

from alexdsl.ir.kernels import render

TENSOR_PLANS = [plan for plan in PLANS if plan[1] != "conv1"]
LEAST = {"forward": 0.43, "input_grad": 0.43, "weight_grad": 0.44, "fc": 0.5}
"""The part of the loop that multiplies: 0.38 is what is wanted."""
SHORT = {(64, 128): 0.38, (128, 48): 0.38}
"""Where it is less, by tile: a thread copies eight chunks of windows for the gradient of filters of 64 maps; of 48
columns a warp multiplies fewer."""


def tensor_plan(kind: str, layer: str, op: str) -> Plan | None:
    g = geometry(kind, layer)
    if op == "forward":
        return plan_tensor_forward(g, True, RELU)
    return plan_tensor_input_grad(g) if op == "input_grad" else plan_tensor_weight_grad(g, True)


def test_little_is_multiplied_in_vain() -> None:
    wasted = {which: tensor_plan(*which).executed / geometry(*which[:2]).multiply_adds for which in TENSOR_PLANS}
    assert max(wasted.values()) <= 1.07, wasted


def count(mix: Mapping[str, int], beginning: str) -> int:
    return sum(n for opcode, n in mix.items() if opcode.startswith(beginning))


def test_all_layers_but_the_first() -> None:
    assert all(tensor_plan(*which) for which in TENSOR_PLANS)
    assert not any(tensor_plan(*which) for which in PLANS if which[1] == "conv1")


needs_cuda = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="needs numba-cuda to compile: pip install alexdsl[cuda]"
)


@needs_cuda
@pytest.mark.parametrize(("kind", "layer", "op"), [("tower", "conv4", op) for op in LEAST if op != "fc"])
def test_threads_store_sixteen_bytes(kind: str, layer: str, op: str) -> None:
    from alexdsl_cuda.compiler import compile_ptx

    step = tensor_plan(kind, layer, op).product
    ptx = compile_ptx(render(step.function, step.constants, CUDA), (8, 0))
    assert set(re.findall(r"\bst\.global\S*", ptx)) == {"st.global.v4.f32"}


@needs_cuda
@pytest.mark.parametrize("capability", [(8, 0), pytest.param((9, 0), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize(("kind", "layer", "op"), TENSOR_PLANS)
def test_loops_multiply_and_nothing_is_spilled(kind: str, layer: str, op: str, capability: tuple[int, int]) -> None:
    from alexdsl_cuda.analysis import MissingTool, analyse

    plan = tensor_plan(kind, layer, op)
    assert plan is not None
    step = plan.product
    try:
        report = analyse(render(step.function, step.constants, CUDA), capability, step.threads)
    except MissingTool as missing:
        pytest.skip(str(missing))
    assert (report.stack, report.spills, report.local, report.doubles, report.calls) == (0, 0, 0, 0, 0)
    mix, tile = report.loop.mix, plan.tile
    least = SHORT.get((tile.rows, tile.columns), LEAST["fc" if layer.startswith("fc") else op])
    assert report.loop.share >= least, mix
    assert count(mix, "HMMA.16816.F32.BF16") == report.loop.multiplications
    # Of a step of the depth, 16 lines of each operand at a time.
    loads, products = (tile.high + tile.wide) // 16, tile.high // 16 * tile.wide // 8
    assert products * count(mix, "LDSM") == loads * count(mix, "HMMA")
    assert all(".x4" in o or ".4" in o for o in mix if o.startswith("LDSM"))
    assert all("128" in o for o in mix if o.startswith("LDGSTS"))
    assert count(mix, "LDG.") == 0
    assert report.blocks >= 2
