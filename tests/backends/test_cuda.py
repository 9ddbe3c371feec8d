"""The CUDA backend: what it offers, what it renders, and what that compiles to and means; no GPU is needed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexdsl.ir.backend import Gap
from alexdsl.ir.graph import Graph, Op, Result
from alexdsl.ir.interpreter import interpret
from alexdsl.ir.protocol import STAGES
from alexdsl.ir.text import parse_graph, print_graph
from alexdsl.ir.types import f32
from alexdsl.ir.verify import verify
from alexdsl.passes.fuse import fuse
from alexdsl.passes.layout import layout
from alexdsl.passes.memory import plan_memory
from alexdsl.passes.schedule import schedule
from alexdsl.registry import backend, registry

REGISTRY = registry()
CUDA = backend("cuda")
CONV = {
    "maps": 4,
    "kernel": (3, 2),
    "stride": (2, 1),
    "pad": (1, 0, 1, 1),
    "dilation": (1, 2),
    "groups": 1,
    "round": "floor",
    "bias": True,
}
CONV2 = {
    "maps": 128,
    "kernel": (5, 5),
    "stride": (1, 1),
    "pad": (2, 2, 2, 2),
    "dilation": (1, 1),
    "groups": 1,
    "round": None,
    "bias": True,
}


def _placed(image: tuple[int, ...], attrs: dict[str, Any], *tail: str) -> Graph:
    """A convolution and elementwise ops on what it gives; ``add`` reads a second input."""
    shape = (attrs["maps"], image[1] // attrs["groups"], *attrs["kernel"])
    leaf: dict[str, Any] = {"device": "gpu0"}
    ops = [
        Op("input", (), (Result("image", f32(*image)),), {"field": "image"}, **leaf),
        Op("parameter", (), (Result("w", f32(*shape)),), **leaf),
    ]
    given = ["image", "w"]
    if attrs["bias"]:
        ops.append(Op("parameter", (), (Result("b", f32(shape[0])),), **leaf))
        given.append("b")
    made = REGISTRY["conv"].infer([f32(*image)], attrs)[0]
    ops.append(Op("conv", tuple(given), (Result("y", made),), attrs, "gpu0"))
    if "add" in tail:
        ops.insert(1, Op("input", (), (Result("side", made),), {"field": "side"}, **leaf))
    last = "y"
    for i, kind in enumerate(tail):
        operands = (last, "side") if kind == "add" else (last,)
        last = f"t{i}"
        ops.append(Op(kind, operands, (Result(last, made),), {"factor": 0.5} if kind == "scale" else {}, "gpu0"))
    return Graph("g", "placed", tuple(ops), {"y": last}, {"devices": ("gpu0",)})


def _program(graph: Graph) -> Graph:
    graph = plan_memory(schedule(layout(fuse(graph, REGISTRY, CUDA), CUDA), CUDA), REGISTRY)
    program = CUDA.lower(graph)
    verify(program, REGISTRY)
    assert parse_graph(print_graph(program)) == program
    return program


CASES = {
    "plain": ((2, 3, 5, 6), {**CONV, "bias": False}, ()),
    "bias and relu": ((2, 3, 5, 6), CONV, ("relu",)),
    "groups": ((1, 4, 5, 4), {**CONV, "groups": 2}, ("tanh", "scale")),
    "a second operand": ((1, 2, 4, 5), CONV, ("add", "relu")),
}

SIMULATE = """
import json, sys
from pathlib import Path
import numpy as np
from numba import cuda
from alexdsl_cuda.compiler import import_kernel
folder = Path(sys.argv[1])
for case in json.loads((folder / "cases.json").read_text()):
    module = import_kernel(case["source"], folder)
    arrays = {k: np.asarray(v, np.float32) for k, v in case["arrays"].items()}
    args = [arrays[a[1:]] if isinstance(a, str) else np.int32(a) for a in case["args"]]
    cuda.jit(module.SIGNATURE)(module.kernel)[tuple(case["grid"]), tuple(case["block"])](*args)
    (folder / case["name"]).write_text(json.dumps(arrays[case["result"]].tolist()))
"""


def test_conv_and_its_tail_become_one_launch() -> None:
    program = _program(_placed((2, 3, 5, 6), CONV, "relu", "add", "scale"))
    op = program.ops[-1]
    assert op.kind == "conv+relu+add+scale"
    (launch,) = op.launches
    count = program.type(op.name).elements
    assert launch.attrs == {"grid": (-(-count // 256), 1, 1), "block": (256, 1, 1)}
    assert launch.args[:5] == ("%image", "%w", "%b", "%side", "%t2")
    source = program.kernels[launch.kernel]
    assert 'SIGNATURE = "void(float32[::1], float32[::1],' in source
    assert "float32(0.5)" in source
    compile(source, launch.kernel, "exec")


def test_sizes_are_arguments_and_windows_constants() -> None:
    small, large = (_program(_placed((n, 3, side, side), CONV, "relu")) for n, side in ((1, 5), (7, 9)))
    assert set(small.kernels) == set(large.kernels)
    other = _program(_placed((1, 3, 5, 5), {**CONV, "kernel": (2, 2)}, "relu"))
    assert not set(small.kernels) & set(other.kernels)


@pytest.mark.parametrize("kind", sorted({"linear", "maxpool", "lrn", "sgd", "conv_input_grad", "copy"}))
def test_a_kernel_that_is_lacking_is_a_named_gap(kind: str) -> None:
    assert REGISTRY[kind]
    op = Op(kind, (), (Result("v", f32(2, 2)),), {}, "gpu0")
    for ask in (CUDA.layouts, CUDA.strategies):
        with pytest.raises(Gap, match=rf"the CUDA backend has no kernel for '{kind}' \(%v\)"):
            ask(op, [], [f32(2, 2)])
    with pytest.raises(Gap, match=kind):
        CUDA.lower(Graph("g", "scheduled", (op,)))
    assert not CUDA.fuses([REGISTRY[kind], REGISTRY["relu"]], False)


def test_values_beyond_32_bits_are_a_gap() -> None:
    graph = layout(fuse(_placed((2**14, 64, 64, 64), {**CONV2, "maps": 2}), REGISTRY, CUDA), CUDA)
    with pytest.raises(Gap, match="it counts in 32 bits"):
        schedule(graph, CUDA)


def test_programs_cannot_be_run_yet() -> None:
    with pytest.raises(Gap, match="its runtime is not built"):
        CUDA.load(Graph("g", STAGES[-1], ()))


def test_offers_fuse_what_the_kernel_computes() -> None:
    conv, relu, add, lrn = (REGISTRY[name] for name in ("conv", "relu", "add", "lrn"))
    assert CUDA.fuses([conv, relu], False)
    assert not CUDA.fuses([conv, relu], True)
    assert not CUDA.fuses([conv, lrn], False)
    assert CUDA.fuses([conv, add], False) == (add.scalar is not None)
    assert not CUDA.fuses([conv, add, add], False)


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs numba for its CUDA simulator")
def test_kernels_mean_what_the_reference_means(tmp_path: Path) -> None:
    """In Numba's simulator, which runs the kernel as Python, a thread at a time."""
    cases, expected = [], {}
    for name, (image, attrs, tail) in CASES.items():
        graph = _placed(image, attrs, *tail)
        program = _program(graph)
        random = np.random.default_rng(1)
        leaves = {
            op.name: random.normal(size=graph.type(op.name).shape) for op in graph if op.kind in ("input", "parameter")
        }
        expected[name] = interpret(graph, REGISTRY, leaves).outputs["y"]
        (launch,) = program.ops[-1].launches
        result = program.outputs["y"]
        arrays = {k: v.ravel().tolist() for k, v in leaves.items()} | {result: [0.0] * expected[name].size}
        cases.append(
            {
                "name": name,
                "source": program.kernels[launch.kernel],
                "arrays": arrays,
                "args": launch.args,
                "result": result,
                "grid": launch.attrs["grid"],
                "block": launch.attrs["block"],
            }
        )
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, "-W", "ignore", "-c", SIMULATE, str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for name, value in expected.items():
        found = np.reshape(json.loads((tmp_path / name).read_text()), value.shape)
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None,
    reason="needs numba-cuda to compile to PTX: pip install alexdsl[cuda]",
)
def test_conv2_of_alexnet_compiles_to_ptx() -> None:
    from alexdsl_cuda.compiler import compile_ptx

    program = _program(_placed((128, 48, 27, 27), CONV2, "relu"))
    (source,) = program.kernels.values()
    compiled = compile_ptx(source, (8, 0))
    assert ".target sm_80" in compiled.ptx
    assert f".entry {compiled.entry}(" in compiled.ptx
    assert "fma.rn.f32" in compiled.ptx
    assert ".f64" not in compiled.ptx
