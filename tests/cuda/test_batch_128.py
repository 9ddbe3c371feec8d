"""AlexNet's kernels at batch 128, in their real sizes: the whole grid in the emulator gives what the references give,
and sampled blocks with every access looked at do nothing wrong and write just what they write among the others."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from alexdsl_cuda import emulator
from alexdsl_cuda.abi import ITEMS, pack
from alexdsl_cuda.backend import CudaBackend
from alexdsl_cuda.compiler import compile_ptx
from alexdsl_cuda.driver import Argument, Span
from alexdsl_cuda.emulated import CAPABILITY
from alexdsl_cuda.emulator.memory import WRITTEN_BEFORE

from alexdsl.ir.graph import Graph, Launch, Op
from alexdsl.ir.layouts import MAPS, logical, physical
from alexdsl.ir.protocol import Array
from alexdsl.ir.semantics import Semantics, taken_over
from alexdsl.ir.types import NUMPY, TensorType
from alexdsl.passes.pipeline import Options, at_stage
from alexdsl.registry import registry
from alexdsl.spec import load
from tests.cuda.test_full_size import ALEXNET

pytestmark = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="needs numba-cuda to compile kernels: pip install alexdsl[cuda]"
)
BATCH = 128
REGISTRY = registry()
SOONER = (
    "conv1.relu.0", "conv1.maxpool.0", "fc8.weight.grad", "conv5.maxpool.grad.0", "conv2.conv.grad.0",
    "conv5.maxpool.join.rows", "conv2.maxpool.join", "fc7.relu.0", "fc6.dropout.0", "fc8.weight.new",
    "loss.softmax_cross_entropy", "report.top1.top1",
)  # fmt: skip
"""Ops that are looked at whenever tests are run; the others are slow."""
IMAGES = (0, 77, 127)
"""The images whose results are compared where all would take too long."""
LARGE = 30_000_000
"""Bytes of an op's values from which on it is so."""
CHUNK = 8
"""Images whose gradients of weights are computed at once."""
RANDOM = 2
"""Sampled blocks beside the first, the last, and the one in the middle."""


@cache
def program() -> Graph:
    spec = load(ALEXNET, set={"data.batch": str(BATCH), "data.classes": "1000"})
    return at_stage(spec.graph, Options(REGISTRY, CudaBackend(REGISTRY), "train"), "program")


def ops() -> Mapping[str, Op]:
    """An op for every launch that differs from the others by its kernel or grid."""
    found, seen = {}, set()
    for op in program():
        keys = {(launch.kernel, launch.attrs["grid"]) for launch in op.launches}
        if keys - seen:
            found[op.name] = op
            seen |= keys
    return found


CASES = [pytest.param(name, marks=() if name in SOONER else pytest.mark.slow) for name in ops()]


def random_values(op: Op) -> dict[str, Array]:
    """Values for an op's operands, in their logical shapes."""
    random = np.random.default_rng(zlib.crc32(op.name.encode()))
    found: dict[str, Array] = {}
    for name in op.operands:
        type = program().type(name)
        # Places in a pooling window of nine, or classes; both have ten at least.
        found[name] = (
            random.standard_normal(type.shape, np.float32)
            if type.dtype == "f32"
            else random.integers(0, 9, type.shape).astype(NUMPY[type.dtype])
        )
    return found


def of_images(attrs: Any, count: int) -> Any:
    """An op's attributes for so many images."""
    if isinstance(attrs, Mapping):
        return {k: (count, *v[1:]) if k == "input" else of_images(v, count) for k, v in attrs.items()}
    return tuple(of_images(v, count) for v in attrs) if isinstance(attrs, tuple | list) else attrs


def by_images(type: TensorType) -> bool:
    return type.layout == MAPS or (len(type.shape) == 2 and type.shape[0] == BATCH)


def reference(op: Op, values: Mapping[str, Array]) -> tuple[Sequence[Array], Sequence[int]]:
    """The op's results in double precision, and the images that they are of (none: they are whole)."""
    types = [program().type(name) for name in op.operands]
    given = [
        values[n].astype(np.float64) if t.dtype == "f32" else values[n] for n, t in zip(op.operands, types, strict=True)
    ]
    semantics = Semantics(REGISTRY)
    if op.kind.endswith("weight_grad"):
        total: list[Any] = []
        for first in range(0, BATCH, CHUNK):
            part = [array[first : first + CHUNK] for array in given]
            made = semantics.reference(op.kind, part, of_images(op.attrs, CHUNK))
            total = [a + b for a, b in zip(total, made, strict=True)] if total else list(made)
        return total, ()
    if sum(type.bytes for type in types) < LARGE or not any(t.layout == MAPS for t in types):
        return semantics.reference(op.kind, given, op.attrs), ()
    part = [a[list(IMAGES)] if by_images(t) else a for a, t in zip(given, types, strict=True)]
    return semantics.reference(op.kind, part, of_images(op.attrs, len(IMAGES))), IMAGES


def arrays_of(op: Op, values: Mapping[str, Array], memory: emulator.Memory) -> dict[str, Array]:
    """Memory for an op's values and workspace, each by itself; what it is to write holds no numbers."""
    found: dict[str, Array] = {}
    for name in op.operands:
        type = program().type(name)
        found[name] = memory.array(physical(type), NUMPY[type.dtype], name)
        logical(found[name], type)[...] = values[name]
    inplace = taken_over(op, REGISTRY)
    for i, result in enumerate(op.results):
        type = program().type(result.name)
        if i in inplace:
            found[result.name] = found[op.operands[inplace[i]]]
            continue
        found[result.name] = memory.array(physical(type), NUMPY[type.dtype], result.name)
        found[result.name].fill(np.nan if type.dtype == "f32" else 255)
    found["workspace"] = memory.array(op.attrs.get("workspace", 0) // 4, np.float32, "workspace")
    found["workspace"].fill(np.nan)
    # What other blocks of an earlier launch wrote counts as written: sampled blocks read it.
    for array in found.values():
        memory.mark_written(array)
    return found


def arguments(launch: Launch, arrays: Mapping[str, Array]) -> Iterator[Argument]:
    for arg, annotation in zip(launch.args, launch.attrs["params"], strict=True):
        if isinstance(arg, str):
            array = arrays[arg.removeprefix("%")]
            yield Span(array.ctypes.data, annotation, array.nbytes // ITEMS[annotation])
        else:
            yield float(arg) if annotation == "float" else int(arg)


def sampled(launch: Launch) -> list[tuple[int, int, int]]:
    """Blocks of a launch: the first, the middle one, the last, and some at random."""
    wide, high, deep = launch.attrs["grid"]
    total = wide * high * deep
    random = np.random.default_rng(zlib.crc32(launch.kernel.encode()))
    chosen = sorted({0, total // 2, total - 1, *(int(n) for n in random.integers(0, total, RANDOM))})
    return [(n % wide, n // wide % high, n // (wide * high)) for n in chosen]


def run_sampled(launch: Launch, arrays: Mapping[str, Array], memory: emulator.Memory) -> None:
    """The launch's sampled blocks with all checks, then all of it: both write the same there."""
    module = emulator.Module(compile_ptx(program().kernels[launch.kernel], CAPABILITY))
    params = pack(list(arguments(launch, arrays)))
    grid, block = launch.attrs["grid"], launch.attrs["block"]
    used = {arg.removeprefix("%"): arrays[arg.removeprefix("%")] for arg in launch.args if isinstance(arg, str)}
    before = {name: array.copy() for name, array in used.items()}
    report = emulator.check(module, "kernel", grid, block, params, memory, blocks=sampled(launch))
    assert not report.findings, report
    written = {}
    for name, array in used.items():
        place = next(a for a in memory.allocations if a.address == array.ctypes.data)
        touched = memory.flags[place.first : place.first + place.size] & WRITTEN_BEFORE != 0
        written[name] = touched, array.reshape(-1).view(np.uint8)[touched].copy()
    for name, array in used.items():
        array[...] = before[name]
    emulator.launch(module, "kernel", grid, block, params)
    assert any(touched.any() for touched, _ in written.values()), "the sampled blocks write nothing"
    for name, (touched, alone) in written.items():
        np.testing.assert_array_equal(used[name].reshape(-1).view(np.uint8)[touched], alone, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_kernels_at_full_size(name: str) -> None:
    op = ops()[name]
    values = random_values(op)
    expected, images = reference(op, values)
    memory = emulator.Memory()
    arrays = arrays_of(op, values, memory)
    for launch in op.launches:
        run_sampled(launch, arrays, memory)
    for result, wanted in zip(op.results, expected, strict=True):
        found = logical(arrays[result.name], program().type(result.name))
        if images:
            found = found[list(images)]
        # Sums of many numbers of about 1: what rounding may do grows with their size.
        atol = 2e-5 * float(np.abs(wanted).max())
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=atol, err_msg=result.name)
