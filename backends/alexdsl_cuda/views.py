"""What ``alexdsl ir`` shows of a CUDA kernel beside its source: PTX, machine code, and what it uses of a card."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from alexdsl.ir.backend import Unavailable
from alexdsl.ir.graph import Graph, Launch, Op
from alexdsl.ir.protocol import Registry
from alexdsl.ir.semantics import Semantics
from alexdsl_cuda.machine import Machine

FORMS = ("source", "ptx", "sass", "resources")


def code(source: str, form: str, card: Machine) -> str:
    """A kernel as ``source``, ``ptx`` or ``sass`` for a card. Raises Unavailable where a tool is not installed."""
    if form == "source":
        return source
    from alexdsl_cuda.compiler import compile_ptx

    ptx = compile_ptx(source, card.capability)
    if form == "ptx":
        return ptx
    from alexdsl_cuda.analysis.tools import MissingTool, assemble

    try:
        return assemble(ptx, card.capability).sass
    except MissingTool as error:
        raise Unavailable(str(error)) from error


def resources(program: Graph, op: Op, launch: Launch, registry: Registry, card: Machine) -> Mapping[str, str]:
    """A launch's row: what its kernel uses, its hottest loop, and the least time that the op's work takes on a card."""
    from alexdsl_cuda.analysis import MissingTool, analyse

    grid, block = launch.attrs["grid"], launch.attrs["block"]
    try:
        report = analyse(program.kernels[launch.kernel], card.capability, prod(block))
    except MissingTool as error:
        raise Unavailable(str(error)) from error
    types = program.types([*op.operands, *(r.name for r in op.results)])
    work = Semantics(registry).multiply_adds(op.kind, program.types(op.operands), op.attrs)
    moved = sum(type.bytes for type in types)
    share = f"{report.loop.share:.0%} of {report.loop.instructions}" if report.loop.multiplications else ""
    return {
        "kernel": launch.kernel,
        "op": f"%{op.name}",
        "grid": "x".join(map(str, grid)),
        "block": str(prod(block)),
        "registers": str(report.registers),
        "spills": str(report.spills),
        "shared": str(report.shared),
        "occupancy": f"{report.occupancy:.0%}",
        "multiplying": share,
        "MFMA": f"{work / 1e6:.1f}" if work else "",
        "MB": f"{moved / 1e6:.1f}",
        "FLOP/B": f"{2 * work / moved:.1f}" if work else "",
        "floor ms": f"{1e3 * card.floor(work, moved):.3f}",
    }
