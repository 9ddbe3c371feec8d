"""Small uses of every layer kind, awkward ones included: what references, gradients and kernels are tested on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from alexdsl.ir.graph import Attrs, Op, Result
from alexdsl.ir.parameters import REQUIRED, Optional
from alexdsl.ir.protocol import Array, LayerKind, Registry
from alexdsl.ir.semantics import Semantics, cut_type, join_type
from alexdsl.ir.structure import STRUCTURE
from alexdsl.ir.types import NUMPY, TensorType, f32
from alexdsl.layers import INITIALISERS, OPS

REGISTRY = Registry().extended((*OPS, *STRUCTURE), INITIALISERS)
SEMANTICS = Semantics(REGISTRY)
STEP = 12345678901


@dataclass(frozen=True)
class Sample:
    """A layer of ``kind`` with the arguments ``given``, on inputs of these shapes, cut into ``towers``."""

    kind: str
    given: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    towers: int = 1
    sees: str = "own"
    registry: Registry = field(default=REGISTRY, repr=False, compare=False)

    @property
    def layer(self) -> LayerKind:
        return self.registry.layers[self.kind]

    @property
    def attrs(self) -> Attrs:
        """All attributes, defaults included, as the binder would set them."""
        attrs = {p.name: self._bound(p) for p in self.layer.parameters}
        starts = {role: attrs.pop(role) for role in self.layer.weight_roles}
        optional = (p.name for p in self.layer.parameters if p.name in starts and isinstance(p.type, Optional))
        attrs |= {role: starts[role] is not None for role in optional}
        if self.layer.random:
            attrs |= {"seed": 7, "stream": f"a.{self.kind}", "first": 0}
        if self.towers > 1:
            attrs |= {"towers": self.towers}
            attrs |= {"sees": self.sees} if self.layer.sees else {}
        return attrs

    def _bound(self, parameter: Any) -> Any:
        if parameter.name in self.given:
            return parameter.type.accept(self.given[parameter.name])
        assert parameter.default is not REQUIRED, f"{self} lacks {parameter.name}"
        return parameter.default

    @property
    def types(self) -> list[TensorType]:
        """The types of the operands: inputs, weights, state, label, step."""
        inputs = [f32(*shape) for shape in self.shapes]
        types = [*inputs, *(f32(*shape) for shape in self._weights(inputs))]
        if self.layer.loss or self.layer.metric:
            types.append(TensorType("i32", inputs[0].shape[:1]))
        if self.layer.random:
            types.append(TensorType("i64", ()))
        return types

    def _weights(self, inputs: list[TensorType]) -> list[tuple[int, ...]]:
        weights = self.layer.weights(inputs, self.attrs)
        if self.towers == 1:
            return [w.shape for w in weights]
        cuts, _ = self.layer.cuts([*inputs, *(f32(*w.shape) for w in weights)], self.attrs)
        parts = [cut_type(type, cut, self.towers) for type, cut in zip(inputs, cuts, strict=False)]
        found = self.layer.weights(parts, SEMANTICS.tower_attrs(self.kind, self.attrs))
        return [join_type(f32(*w.shape), 0, self.towers).shape for w in found]

    @property
    def result_types(self) -> Sequence[TensorType]:
        return Semantics(self.registry).infer(self.kind, self.types, self.attrs)

    @property
    def op(self) -> Op:
        """The layer's op; its operands are called x0, x1 ..., its results y0, y1 ..."""
        results = tuple(Result(f"y{i}", t) for i, t in enumerate(self.result_types))
        return Op(self.kind, tuple(f"x{i}" for i in range(len(self.types))), results, self.attrs)

    def arrays(self, dtype: Any = np.float64, seed: int = 0) -> list[Array]:
        """Values for the operands: no two in an array are close, and none is close to 0."""
        random = np.random.default_rng(seed)
        arrays = [_values(type, random, dtype) for type in self.types]
        if "variance" in self.layer.state_roles:
            arrays[-1] = np.abs(arrays[-1]) + np.asarray(0.5, dtype)
        return arrays

    def with_attrs(self, **given: Any) -> Sample:
        return replace(self, given={**self.given, **given})

    def __str__(self) -> str:
        given = "-".join(f"{k}={v}" for k, v in self.given.items())
        shapes = "+".join("x".join(map(str, shape)) for shape in self.shapes)
        towers = f"-towers={self.towers}-{self.sees}" if self.towers > 1 else ""
        return f"{self.kind}-{shapes}-{given}{towers}".replace(" ", "")


def _values(type: TensorType, random: np.random.Generator, dtype: Any) -> Array:
    if type.dtype == "i32":
        labels = random.integers(0, 3, type.shape).astype(np.int32)
        labels[-1] = -1
        return labels
    if type.dtype == "i64":
        return np.asarray(STEP, NUMPY["i64"])
    spread = (random.permutation(type.elements) + 0.3) / type.elements
    return np.asarray(4 * spread - 2, dtype).reshape(type.shape)


def _layer(kind: str, *shapes: tuple[int, ...], towers: int = 1, sees: str = "own", **given: Any) -> Sample:
    return Sample(kind, given, shapes, towers, sees)


CONV = (
    _layer("conv", (2, 3, 5, 7), maps=4, kernel=3),
    _layer("conv", (1, 1, 1, 1), maps=1, kernel=1, bias=None),
    _layer("conv", (2, 2, 9, 11), maps=3, kernel=(5, 3), stride=(2, 4), pad=(1, 2)),
    _layer("conv", (2, 3, 7, 6), maps=2, kernel=3, stride=2, pad="same"),
    _layer("conv", (1, 2, 6, 8), maps=3, kernel=(2, 4), pad=(1, 0, 2, 1)),
    _layer("conv", (2, 4, 6, 5), maps=6, kernel=3, pad=1, groups=2),
    _layer("conv", (1, 4, 5, 5), maps=4, kernel=3, pad=1, groups=4, bias=None),
    _layer("conv", (1, 2, 9, 8), maps=2, kernel=(3, 2), dilation=(2, 3), pad=1),
    _layer("conv", (2, 3, 8, 8), maps=2, kernel=3, stride=2, round="ceil"),
    _layer("conv", (2, 3, 8, 8), maps=2, kernel=3, stride=2, round="floor"),
    _layer("conv", (1, 2, 7, 7), maps=3, kernel=1, stride=3, bias=None),
    _layer("conv", (3, 3, 15, 15), maps=2, kernel=11, stride=4),
    _layer("conv", (2, 4, 5, 6), maps=6, kernel=3, pad=1, towers=2),
    _layer("conv", (2, 4, 5, 6), maps=6, kernel=3, pad=1, towers=2, sees="all"),
    _layer("conv", (1, 8, 4, 4), maps=4, kernel=3, groups=2, towers=2, bias=None),
)
LINEAR = (
    _layer("linear", (3, 5), units=4),
    _layer("linear", (1, 1), units=1, bias=None),
    _layer("linear", (2, 3, 4, 5), units=7),
    _layer("linear", (2, 4, 3, 3), units=6, towers=2),
    _layer("linear", (2, 4, 3, 3), units=6, towers=2, sees="all"),
    _layer("linear", (3, 6), units=4, towers=2, sees="all", bias=None),
)
POOLS = tuple(
    _layer(kind, shape, **given)
    for kind in ("maxpool", "avgpool")
    for shape, given in (
        ((2, 3, 6, 6), {"kernel": 2}),
        ((2, 3, 7, 9), {"kernel": 3, "stride": 2}),
        ((1, 2, 8, 6), {"kernel": 3, "stride": 2, "round": "ceil"}),
        ((1, 2, 8, 7), {"kernel": (3, 2), "stride": (2, 3), "pad": (1, 0)}),
        ((2, 2, 7, 7), {"kernel": 3, "stride": 2, "pad": 1, "round": "ceil"}),
        ((1, 2, 5, 4), {"kernel": 2, "stride": 3, "pad": 1, "round": "ceil"}),
        ((1, 2, 6, 7), {"kernel": 3, "stride": 2, "pad": "same"}),
        ((1, 1, 5, 5), {"kernel": (4, 2), "stride": 1, "pad": (2, 1, 0, 1)}),
        ((1, 1, 2, 2), {"kernel": 3, "stride": 2, "round": "ceil"}),
        ((1, 1, 17, 16), {"kernel": 16, "stride": 1}),
        ((1, 3, 1, 1), {"kernel": 1}),
        ((2, 4, 5, 5), {"kernel": 3, "stride": 2, "towers": 2}),
    )
)
AVGPOOL = (
    _layer("avgpool", (2, 2, 7, 7), kernel=3, stride=2, pad=1, round="ceil", count="padded"),
    _layer("avgpool", (1, 2, 8, 6), kernel=3, stride=2, round="ceil", count="padded"),
    _layer("avgpool", (1, 2, 8, 7), kernel=(3, 2), stride=(2, 3), pad=(1, 0), count="padded"),
    _layer("avgpool", (2, 4, 5, 5), kernel=3, pad=1, count="padded", towers=2),
)
LRN = (
    _layer("lrn", (2, 7, 2, 3), alpha=0.3),
    _layer("lrn", (2, 3, 2, 2), size=5, alpha=0.5, beta=0.6, k=1, per="mean"),
    _layer("lrn", (1, 6, 1, 3), size=3, alpha=0.1, per="mean"),
    _layer("lrn", (1, 6, 2, 1), size=4, alpha=0.2),
    _layer("lrn", (1, 1, 2, 2), size=1, alpha=1),
    _layer("lrn", (2, 8, 2, 2), size=3, alpha=0.4, towers=2),
    _layer("lrn", (2, 8, 2, 2), size=5, alpha=0.4, towers=2, sees="all"),
)
BATCH_NORM = (
    _layer("batch_norm", (4, 3, 2, 5)),
    _layer("batch_norm", (5, 4), momentum=0.5, epsilon=0.1),
    _layer("batch_norm", (6, 2, 3, 1), over=2),
    _layer("batch_norm", (6, 2), over=3),
    _layer("batch_norm", (3, 2, 2, 2), stats="frozen"),
    _layer("batch_norm", (1, 2, 3, 3), stats="frozen"),
    _layer("batch_norm", (4, 4, 3, 2), towers=2),
    _layer("batch_norm", (4, 4, 3, 2), over=2, towers=2),
    _layer("batch_norm", (4, 4, 3, 2), stats="frozen", towers=2),
)
ELEMENTWISE = tuple(
    _layer(kind, shape, towers=towers)
    for kind in ("relu", "tanh", "sigmoid")
    for shape, towers in (((2, 3, 4, 5), 1), ((3, 7), 1), ((2, 4, 3, 3), 2))
)
DROPOUT = (
    _layer("dropout", (3, 13)),
    _layer("dropout", (2, 3, 5, 5), p=0.3),
    _layer("dropout", (2, 3, 3, 3), p=0.25, scale="test"),
    _layer("dropout", (2, 5), p=0),
    _layer("dropout", (2, 6, 3, 3), p=0.4, towers=2),
)
SHAPES = (
    _layer("global_avgpool", (2, 3, 4, 5)),
    _layer("global_avgpool", (1, 1, 1, 1)),
    _layer("global_avgpool", (2, 4, 3, 3), towers=2),
    _layer("flatten", (2, 3, 4, 5)),
    _layer("flatten", (2, 7)),
    _layer("flatten", (2, 4, 3, 1), towers=2),
    _layer("scale", (2, 3, 2, 2), factor=-0.3),
    _layer("scale", (), factor=0.3),
    _layer("scale", (2, 4), factor=2, towers=2),
)
JOINS = (
    _layer("add", (2, 3, 4, 5), (2, 3, 4, 5)),
    _layer("add", (2, 3), (2, 3), (2, 3)),
    _layer("add", (), ()),
    _layer("add", (2, 4, 2, 2), (2, 4, 2, 2), towers=2),
    _layer("concat", (2, 3, 2, 4), (2, 1, 2, 4)),
    _layer("concat", (3, 2), (3, 4), (3, 1)),
    _layer("concat", (2, 4, 3, 2), (2, 2, 3, 2), towers=2),
)
LOSSES = (
    _layer("softmax_cross_entropy", (4, 5)),
    _layer("softmax_cross_entropy", (1, 3)),
    _layer("topk", (6, 5), k=2),
    _layer("topk", (3, 3), k=5),
)

SAMPLES = (
    *CONV, *LINEAR, *POOLS, *AVGPOOL, *LRN, *BATCH_NORM, *ELEMENTWISE, *DROPOUT, *SHAPES, *JOINS, *LOSSES,
)  # fmt: skip


def of_kinds(*kinds: str) -> list[Sample]:
    """The samples of these kinds."""
    return [s for s in SAMPLES if s.kind in kinds]


def differentiable(samples: Iterable[Sample] = SAMPLES) -> list[Sample]:
    """The samples whose kind has a gradient."""
    return [s for s in samples if not s.layer.metric]


class Tape:
    """Runs a layer forward, then its gradient rule, in the arrays' own precision; ``ops`` are what the rule emitted."""

    def __init__(self, sample: Sample, arrays: Sequence[Array]) -> None:
        self.semantics = Semantics(sample.registry)
        self.sample = sample
        self.op = sample.op
        self.outputs = self.semantics.reference(sample.kind, arrays, sample.attrs)
        self.values = dict(zip(self.op.operands, arrays, strict=True))
        self.values |= {r.name: v for r, v in zip(self.op.results, self.outputs, strict=True)}
        self.types = dict(zip(self.op.operands, sample.types, strict=True))
        self.types |= {r.name: r.type for r in self.op.results if r.type}
        self.ops: list[Op] = []

    def type(self, name: str) -> TensorType:
        return self.types[name]

    def emit(
        self, kind: str, operands: Sequence[str], attrs: Attrs | None = None, *, names: Sequence[str]
    ) -> list[str]:
        attrs = dict(attrs or {})
        types = self.semantics.infer(kind, [self.types[name] for name in operands], attrs)
        assert len(types) == len(names)
        unique = [f"{name}.{len(self.ops)}" for name in names]
        results = tuple(Result(name, type) for name, type in zip(unique, types, strict=True))
        values = self.semantics.reference(kind, [self.values[name] for name in operands], attrs)
        self.ops.append(Op(kind, tuple(operands), results, attrs))
        self.types |= dict(zip(unique, types, strict=True))
        self.values |= dict(zip(unique, values, strict=True))
        return unique

    def backward(self, dy: Array, wanted: Sequence[bool] | None = None) -> list[Array | None]:
        """The operands' gradients, given the first result's."""
        self.values["dy"], self.types["dy"] = dy, self.type(self.op.results[0].name)
        grads = ["dy", *[None] * (len(self.op.results) - 1)]
        asked = wanted or [t.dtype == "f32" for t in self.sample.types]
        names = self.sample.layer.gradient(self, self.op, grads, asked)
        return [self.values[name] if name else None for name in names]
