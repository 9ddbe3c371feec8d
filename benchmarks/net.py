"""What every peer of a comparison is given: a net's graph, and weights and images drawn from the same seed."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

import alexdsl
from alexdsl.cli.common import spec_path
from alexdsl.ir.graph import Graph, Op, prune
from alexdsl.ir.semantics import Semantics
from alexdsl.layers.window import axes
from alexdsl.passes.pipeline import Options, at_stage
from alexdsl.registry import backend, registry
from alexdsl.spec import Spec

Floats = NDArray[np.float32]

SMALL = ("lenet5", "cifar-quick")
"""Nets of ten classes; all others have ImageNet's thousand."""
PRODUCTS = ("conv", "linear")


class Untranslatable(Exception):
    """An op that another system has no word for; the message names it."""


def classes(name: str) -> int:
    """Classes of a net's data."""
    return 10 if name in SMALL else 1000


def load(name: str, batch: int | None = None) -> Spec:
    """A spec by name, with the batch of its own unless told; steps so small that random images teach nothing."""
    spec = alexdsl.load(spec_path(name), set={"data.classes": str(classes(name)), "solver.lr": "0.00001"})
    return spec.with_batch(batch) if batch else spec


def shaped(spec: Spec, mode: str, output: str) -> Graph:
    """The forward graph of a mode (``train``, ``predict``) with types, as far as ``output`` (``loss``, ``logits``)
    needs it."""
    graph = at_stage(spec.graph, Options(registry(), backend("cpu"), mode), "shaped")
    return prune(graph.with_ops(graph.ops, outputs={output: graph.outputs[output]}))


def inputs(graph: Graph) -> tuple[Floats, NDArray[np.int64]]:
    """Normal random images [N, C, H, W] and labels [N], small enough for any net's classes."""
    random = np.random.default_rng(1)
    shape = next(graph.type(op.name).shape for op in graph if op.attrs.get("field") == "image")
    return random.standard_normal(shape, np.float32), random.integers(0, 10, shape[0])


def weights(graph: Graph) -> Mapping[str, Floats]:
    """He's weights, and vectors that are near to their first values but not at them."""
    random = np.random.default_rng(2)
    found = {}
    for op in graph:
        if op.kind not in ("parameter", "state"):
            continue
        shape, role = graph.type(op.name).shape, op.attrs["role"]
        values = random.standard_normal(shape, np.float32)
        if len(shape) > 1:
            values *= np.float32(np.sqrt(2 / prod(shape[1:])))
        else:
            values *= np.float32(0.1)
            values += np.float32(role in ("weight", "variance"))
        found[op.name] = np.abs(values) if role == "variance" else values
    return found


def flop(spec: Spec, of: tuple[str, ...] = PRODUCTS, mode: str = "train") -> float:
    """Operations of products for an image, each multiply-add two: of a whole training step, or of prediction."""
    graph = at_stage(spec.graph, Options(registry(), backend("cpu"), mode), "differentiated")
    semantics = Semantics(registry())
    every = (op for op in graph if op.kind.split("_")[0] in of)
    batch = graph.attrs["batch"]
    adds = sum(semantics.multiply_adds(op.kind, graph.types(op.operands), op.attrs) for op in every)
    return 2 * adds / int(batch)


def pads(graph: Graph, op: Op) -> tuple[int, int]:
    """Pads of the rows and columns of windows, alike on both sides. Raises Untranslatable where they are not."""
    found = axes(graph.type(op.operands[0]).shape, op.attrs, inside=op.kind != "conv")
    if any(a.before != a.after for a in found) or (op.kind == "conv" and any(a.unread < 0 for a in found)):
        raise Untranslatable(f"{op.name}: pads that differ from side to side")
    return found[0].before, found[1].before


def groups(graph: Graph, op: Op) -> int:
    """Parts of a convolution's channels that see only each other, towers counted in."""
    if op.attrs["groups"] > 1 and op.attrs.get("sees") == "all":
        raise Untranslatable(f"{op.name}: groups of all towers' channels")
    x, weight = graph.types(op.operands[:2])
    return x.shape[1] // weight.shape[1]


def parts(op: Op) -> int:
    """Parts of the channels beyond whose edges a layer does not look: the towers, unless it sees all."""
    return int(op.attrs.get("towers", 1)) if op.attrs.get("sees") == "own" else 1


def check_whole(graph: Graph, op: Op) -> None:
    """Raises Untranslatable where a linear layer's towers see only their own inputs."""
    x, weight = graph.types(op.operands[:2])
    if prod(x.shape[1:]) != weight.shape[1]:
        raise Untranslatable(f"{op.name}: towers of a linear layer that see only themselves")
