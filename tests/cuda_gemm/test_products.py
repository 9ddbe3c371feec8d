"""The products' kernels mean what the layers' references mean: in Numba's CUDA simulator, on toy shapes and tiles."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from alexdsl_cuda.dialect import CUDA
from alexdsl_cuda.gemm.calls import Plan
from alexdsl_cuda.gemm.geometry import Geometry
from alexdsl_cuda.gemm.plan import plan_forward, plan_input_grad, plan_weight_grad
from alexdsl_cuda.gemm.plan_tensor import plan_tensor_forward, plan_tensor_input_grad, plan_tensor_weight_grad
from alexdsl_cuda.gemm.tile import Tile
from alexdsl_cuda.gemm.warps import WarpTile
from cuda_gemm.cases import ADD, RELU, Case, case, conv, padded_after

from alexdsl.ir.kernels import render

TOY = Tile(16, 16, 8, 4, 4)
DEEP = Tile(16, 32, 16, 8, 4)

GEOMETRIES = {
    "taps of whole slabs": conv(2, 16, 4, 8, 3, pad=1),
    "slabs over several taps": conv(1, 4, 5, 12, 3, pad=1),
    "groups": conv(1, 16, 4, 24, 3, pad=1, groups=2),
    "channels one by one": conv(1, 3, 7, 6, 3, stride=2),
    "a stride": conv(1, 8, 7, 8, 3, stride=2, pad=1),
    "a stride beyond the window": conv(1, 8, 5, 8, 1, stride=2),
    "dilation": conv(1, 8, 7, 8, 3, pad=2, dilation=2),
    "dilation and stride": conv(1, 8, 9, 4, 3, stride=2, pad=2, dilation=2),
    "dilation beside stride": conv(1, 8, 9, 4, 3, stride=2, pad=3, dilation=3),
    "padding at the end": padded_after(1, 8, 5, 8, 2),
    "linear": Geometry.linear(5, 24, 20),
    "linear of odd sizes": Geometry.linear(3, 10, 7),
}


def cases() -> list[Case]:
    found = []
    for name, g in GEOMETRIES.items():
        for tile in (TOY, DEEP) if "slabs" in name or "stride" in name else (TOY,):
            tiled = f"{name}, {tile.depth} deep"
            found += [
                case(
                    f"{tiled}: forward",
                    "forward",
                    g,
                    lambda g=g, tile=tile: plan_forward(g, True, RELU, tile),
                    tail="relu",
                ),
                case(f"{tiled}: input_grad", "input_grad", g, lambda g=g, tile=tile: plan_input_grad(g, tile=tile)),
                case(f"{tiled}: weight_grad", "weight_grad", g, lambda g=g, tile=tile: plan_weight_grad(g, True, tile)),
            ]
    g = conv(4, 3, 15, 16, 3, stride=4)
    found += [
        case("runs: forward", "forward", g, lambda g=g: plan_forward(g, True, RELU, Tile(48, 16, 9)), tail="relu"),
        case("runs: weight_grad", "weight_grad", g, lambda g=g: plan_weight_grad(g, True, splits=3)),
    ]
    for name, g in (
        ("images with padding", conv(2, 3, 16, 16, 3, pad=1)), ("and a stride", conv(1, 3, 16, 24, 5, stride=2, pad=2)),
    ):  # fmt: skip
        tile = Tile(48, 16, 3 * g.columns.kernel)
        found += [
            case(f"{name}: forward", "forward", g, lambda g=g, t=tile: plan_forward(g, True, RELU, t), tail="relu"),
            case(f"{name}: weight_grad", "weight_grad", g, lambda g=g: plan_weight_grad(g, True, splits=3)),
        ]
    found += tensor_cases()
    g = GEOMETRIES["groups"]
    found += [
        case("split forward", "forward", g, lambda: plan_forward(g, True, ADD, TOY, 3), tail="add"),
        case("split input_grad", "input_grad", g, lambda: plan_input_grad(g, ADD, TOY, 3), tail="add"),
        case("split weight_grad", "weight_grad", g, lambda: plan_weight_grad(g, False, TOY, 2), bias=False),
        case(
            "a second operand: forward", "forward", g, lambda: plan_forward(g, False, ADD, TOY), bias=False, tail="add"
        ),
    ]
    return found


def tensor_cases() -> list[Case]:
    """Products on tensor cores: a warp a block, but for the filters' gradient."""
    found, warp = [], WarpTile(64, 64)
    for name, g in (
        ("taps", conv(1, 8, 4, 16, 3, pad=1)), ("in groups", conv(1, 16, 4, 80, 1, groups=2)),
        ("linear", Geometry.linear(5, 72, 24)),
    ):  # fmt: skip
        plans: dict[str, Callable[[], Plan | None]] = {
            "forward": lambda g=g: plan_tensor_forward(g, True, RELU, warp, 2),
            "input_grad": lambda g=g: plan_tensor_input_grad(g, tile=warp, splits=1),
            "weight_grad": lambda g=g: plan_tensor_weight_grad(g, True),
        }
        for op, make in plans.items():
            tail = "relu" if op == "forward" else ""
            found.append(case(f"halves, {name}: {op}", op, g, make, tail=tail, halves=True))
    return found


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs numba for its CUDA simulator")
@pytest.mark.parametrize("op", ["forward", "input_grad", "weight_grad"])
def test_kernels_mean_what_the_references_mean(op: str, tmp_path: Path) -> None:
    everything = [one for one in cases() if one.name.endswith(op)]
    assert len(everything) > 10
    listed = []
    for number, one in enumerate(everything):
        np.savez(tmp_path / f"{number}.npz", **one.arrays)
        launches = [
            {
                "source": render(step.function, step.constants, CUDA),
                "args": list(step.args),
                "grid": step.grid,
                "block": (step.threads, 1, 1),
            }
            for step in one.plan.steps
        ]
        listed.append({"name": str(number), "launches": launches})
    (tmp_path / "cases.json").write_text(json.dumps(listed))
    script = Path(__file__).with_name("simulate.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path)],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for number, one in enumerate(everything):
        made = np.load(tmp_path / f"{number}.done.npz")
        for key, expected in one.expected.items():
            np.testing.assert_allclose(made[key], expected, rtol=1e-4, atol=1e-4, err_msg=f"{one.name}: {key}")
