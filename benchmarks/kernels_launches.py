"""The kernel launches of a net's training step: what each is for, what it works on, and how much of that is useful."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TypeAlias

from alexdsl_cuda.abi import ITEMS
from alexdsl_cuda.gemm.calls import Plan
from alexdsl_cuda.gemm.warps import WarpTile
from alexdsl_cuda.products import TENSOR, Products

from alexdsl.ir.graph import Attr, Graph, Launch, Op
from alexdsl.ir.layouts import FILTERS
from alexdsl.ir.protocol import Registry
from alexdsl.ir.semantics import Semantics
from alexdsl.passes.pipeline import Options, at_stage
from alexdsl.registry import backend, registry
from alexdsl.spec import load

SPECS = Path(__file__).parents[1] / "specs"
CLASSES = 1000
"""The classes that every net is compiled for: ImageNet's."""

Extent: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True)
class Arg:
    """A launch's argument: an array of so many elements, by its value's name, or a number."""

    annotation: str
    name: str = ""
    count: int = 0
    value: int | float = 0

    @property
    def bytes(self) -> int:
        return self.count * ITEMS[self.annotation] if self.name else 0


Floor: TypeAlias = Sequence[tuple[int, int, str]]
"""Of every op its multiply-adds, its bytes, and the precision of its products."""
Key: TypeAlias = tuple[str, Extent, Extent]
"""A kernel's name, its grid and its block."""


@dataclass(frozen=True)
class Subject:
    """A kernel with its grid, launched so many ``times`` in a step; the rest is said of the first such launch."""

    net: str
    op: str
    kind: str
    layer: str
    kernel: str
    source: str
    grid: Extent
    block: Extent
    args: Sequence[Arg]
    times: int
    product: bool
    """Whether its op is a product of matrices."""
    multiplies: bool
    """Whether it is the launch of such an op that multiplies."""
    useful: int
    """Multiply-adds of the op, if this launch does them."""
    executed: int
    """Those that its blocks do, padding included."""
    part: float
    """The part of the step's multiply-adds that launches like it do."""
    compulsory: int
    """Bytes of the op's operands and results, each once."""
    together: Sequence[Key]
    """All launches of the op."""
    inputs: int
    """Channels of a convolution's input; 0 for other ops."""
    window: Sequence[int]
    """Rows and columns of a convolution's window."""
    warp: Sequence[int]
    """Rows and columns of a warp's sums on tensor cores; of other launches none."""

    @property
    def precision(self) -> str:
        """What is multiplied."""
        return "bf16" if self.warp else "fp32"

    @property
    def threads(self) -> int:
        return prod(self.block)

    @property
    def blocks(self) -> int:
        return prod(self.grid)

    @property
    def bytes(self) -> int:
        """The bytes of the launch's arrays, each once."""
        return sum({arg.name: arg.bytes for arg in self.args if arg.name}.values())

    @property
    def head(self) -> str:
        return self.kind.split("+")[0]


@dataclass(frozen=True)
class Net:
    """A training step: its distinct launches, and of every op the multiply-adds and bytes that no kernel can spare."""

    name: str
    batch: int
    precision: str
    subjects: Sequence[Subject]
    floor: Floor


def program(net: str, batch: int, precision: str) -> Graph:
    """A packaged net's training step on the CUDA backend."""
    given = {"data.batch": str(batch), "data.classes": str(CLASSES), "solver.precision": precision}
    spec = load(SPECS / f"{net}.net", set=given)
    return at_stage(spec.graph, Options(spec.registry, backend("cuda"), "train"), "program")


def subjects(graph: Graph, kinds: Registry) -> Sequence[Subject]:
    """The distinct launches of a program, in order. ``times`` and ``part`` are over all launches."""
    found: dict[Key, Subject] = {}
    total = 0
    for op in graph:
        for launch in op.launches:
            key = _key(launch)
            if key in found:
                found[key] = replace(found[key], times=found[key].times + 1)
            else:
                found[key] = _subject(graph, kinds, op, launch)
            total += found[key].useful
    return [replace(s, part=s.useful * s.times / total if total else 0.0) for s in found.values()]


def _subject(graph: Graph, kinds: Registry, op: Op, launch: Launch) -> Subject:
    source = graph.kernels[launch.kernel]
    plan = plan_of(graph, kinds, op)
    product = plan.product if plan else None
    multiplies = product is not None and product.function.name == launch.kernel.rpartition("_")[0]
    if multiplies and product is not None and product.grid != launch.attrs["grid"]:
        raise ValueError(f"%{op.name} is not launched as it is planned")
    values = graph.types(dict.fromkeys([*op.operands, *(r.name for r in op.results)]))
    tile = plan.tile if multiplies and plan is not None else None
    filters = next((t.shape for t in values if t.layout == FILTERS), (0, 0))
    return Subject(
        graph.name, op.name, op.kind, op.layer, launch.kernel, source, launch.attrs["grid"], launch.attrs["block"],
        [_arg(graph, op, *pair) for pair in zip(launch.args, launch.attrs["params"], strict=True)], 1, plan is not None,
        multiplies,
        Semantics(kinds).multiply_adds(op.kind, graph.types(op.operands), op.attrs) if multiplies else 0,
        plan.executed if multiplies and plan is not None else 0, 0.0, sum(type.bytes for type in values),
        [_key(each) for each in op.launches], filters[1], filters[2:],
        (tile.high, tile.wide) if isinstance(tile, WarpTile) else (),
    )  # fmt: skip


def _key(launch: Launch) -> Key:
    return launch.kernel, launch.attrs["grid"], launch.attrs["block"]


def plan_of(graph: Graph, kinds: Registry, op: Op) -> Plan | None:
    """The plan by which a convolution or linear layer, or a gradient of one, is launched; none for other ops."""
    offer = backend("cuda").offer([kinds[kind] for kind in op.kind.split("+")])
    if not isinstance(offer, Products):
        return None
    return offer.plan(op, graph.types(op.operands), graph.types(r.name for r in op.results))


def _arg(graph: Graph, op: Op, arg: Attr, annotation: str) -> Arg:
    if arg == "workspace":
        return Arg(annotation, arg, op.attrs["workspace"] // ITEMS[annotation])
    if isinstance(arg, str):
        return Arg(annotation, arg[1:], graph.type(arg[1:]).bytes // ITEMS[annotation])
    return Arg(annotation, value=arg)


def of_net(name: str, batch: int, precision: str) -> Net:
    """A packaged net's training step."""
    graph, kinds = program(name, batch, precision), registry()
    semantics, floor = Semantics(kinds), []
    for op in graph:
        if op.launches:
            moved = sum(t.bytes for t in graph.types([*op.operands, *(r.name for r in op.results)]))
            own = "bf16" if op.attrs.get("strategy") == TENSOR else "fp32"
            floor.append((semantics.multiply_adds(op.kind, graph.types(op.operands), op.attrs), moved, own))
    return Net(name, batch, precision, subjects(graph, kinds), floor)


def largest(found: Sequence[Subject]) -> Mapping[str, Subject]:
    """Of each kernel the launch of most blocks."""
    return {s.kernel: s for s in sorted(found, key=lambda s: s.blocks)}
