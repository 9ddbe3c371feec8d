"""Programs run by the emulator with every access looked at: what is wrong with their kernels, and what they move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from alexdsl_cuda.abi import ITEMS, pack
from alexdsl_cuda.compiler import compile_ptx
from alexdsl_cuda.driver import Argument, Span
from alexdsl_cuda.emulated import CAPABILITY
from alexdsl_cuda.emulator import Memory, Module, Report, check

from alexdsl.ir.graph import Graph, Launch, Op
from alexdsl.ir.layouts import logical, physical
from alexdsl.ir.protocol import Array, Registry
from alexdsl.ir.semantics import taken_over
from alexdsl.ir.structure import LEAVES
from alexdsl.ir.types import NUMPY


@dataclass(frozen=True)
class Checked:
    """The values that a program made, in the logical layout, and a report for each of its launches."""

    values: Mapping[str, Array]
    reports: list[tuple[Op, Report]]


def run_checked(program: Graph, registry: Registry, leaves: Mapping[str, Array]) -> Checked:
    """Runs a program's launches one after the other. Every value has memory of its own, so that nothing strays unseen;
    a workspace is new for every op, so that nothing is read there that the op did not write."""
    memory = Memory()
    arrays: dict[str, Array] = {}
    reports = []
    for op in program:
        inplace = taken_over(op, registry)
        for i, r in enumerate(op.results):
            type = program.type(r.name)
            if i in inplace:
                arrays[r.name] = arrays[op.operands[inplace[i]]]
                continue
            arrays[r.name] = memory.array(physical(type), NUMPY[type.dtype], r.name)
            if op.kind in LEAVES:
                logical(arrays[r.name], type)[...] = leaves[r.name]
                memory.mark_written(arrays[r.name])
        scratch = memory.allocate(op.attrs.get("workspace", 0), "workspace")
        for launch in op.launches:
            module = _module(program.kernels[launch.kernel])
            params = pack(_arguments(launch, arrays, scratch))
            reports.append((op, check(module, "kernel", launch.attrs["grid"], launch.attrs["block"], params, memory)))
    return Checked({name: logical(array, program.type(name)) for name, array in arrays.items()}, reports)


@cache
def _module(source: str) -> Module:
    return Module(compile_ptx(source, CAPABILITY))


def _arguments(launch: Launch, arrays: Mapping[str, Array], scratch: Array) -> list[Argument]:
    found: list[Argument] = []
    for arg, annotation in zip(launch.args, launch.attrs["params"], strict=True):
        if isinstance(arg, str):
            array = scratch if arg == "workspace" else arrays[arg[1:]]
            found.append(Span(array.ctypes.data, annotation, array.nbytes // ITEMS[annotation]))
        else:
            found.append(np.float32(arg).item() if annotation == "float" else int(arg))
    return found
