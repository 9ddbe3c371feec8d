"""What the compiler asks of an op kind, a layer kind and an initialiser; the registry that holds them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.parameters import Parameter, value_text
from alexdsl.ir.types import TensorType

Array: TypeAlias = NDArray[Any]
Types: TypeAlias = Sequence[TensorType]

T = TypeVar("T")

WHOLE = None
"""A cut that leaves the value whole: every tower sees all of it."""
PARTIAL = "partial"
"""A cut of a result: every tower gives a part of a sum, added in tower order."""
Cut: TypeAlias = int | str | None
"""How towers share a value: the axis it is cut along, WHOLE or PARTIAL."""

STAGES = ("parsed", "shaped", "differentiated", "placed", "fused", "laid-out", "scheduled", "program")


class ShapeError(ValueError):
    """The shapes or attributes of an op do not fit; ``hint`` may say how to mend it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class OpKind(ABC):
    """An operation of the IR: its shape rule, its cost, how towers cut it, and its slow, obvious meaning in NumPy."""

    name: ClassVar[str]
    first_stage: ClassVar[str] = "parsed"
    last_stage: ClassVar[str] = "scheduled"
    inplace: ClassVar[Mapping[int, int]] = {}
    """Results that take over the storage of an operand (result: operand), as the new weights do of the old."""
    cheap: ClassVar[bool] = False
    """Whether recomputing the op in the backward pass beats storing its result (elementwise, a few operations)."""
    scalar: ClassVar[str | None] = None
    """An elementwise kind's value as a Python expression over its attributes and ``x`` (its first operand; further
    operands are ``a``, ``b``): backends inline it into the kernels of other ops. None: not elementwise."""
    scalar_operands: ClassVar[tuple[str, ...]] = ("x",)

    @property
    def flow(self) -> int:
        """The operand that the op before gives where this one is fused to it."""
        return 0

    @abstractmethod
    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        """The results' types. Raises ShapeError."""

    def replaced(self, operands: int) -> Mapping[int, int]:
        """``inplace`` of an op of so many operands."""
        return self.inplace

    @abstractmethod
    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        """The results by the textbook definition, in the arrays' own precision; never fast."""

    def multiply_adds(self, types: Types, attrs: Attrs) -> int:
        """Multiply-adds as papers count them (padding taps included, biases and elementwise work not)."""
        return 0

    def cuts(self, types: Types, attrs: Attrs) -> tuple[Sequence[Cut], Sequence[Cut]]:
        """How towers share operands and results: by default every array of two or more axes is cut by channels."""
        results = self.infer(types, {k: v for k, v in attrs.items() if k != "towers"})
        return ([_channel_cut(t) for t in types], [_channel_cut(t) for t in results])

    def tower_attrs(self, attrs: Attrs, towers: int, tower: int) -> Attrs:
        """The attributes of the share that ``tower`` has of the op; ``attrs`` still says what the op sees.

        A share of another number of the same tower may differ in ``part`` = (tower, towers) at most.
        """
        return attrs


def _channel_cut(type: TensorType) -> Cut:
    return 1 if len(type.shape) >= 2 else WHOLE


@dataclass(frozen=True)
class Weight:
    """A weight or state array of a layer: its role (``weight``, ``bias`` ...), shape and fans.

    ``fans`` are (fan in, fan out) for initialisers.
    """

    role: str
    shape: tuple[int, ...]
    fans: tuple[int, int]


class Emitter(Protocol):
    """Appends gradient ops for one layer; every new value gets a name and a type at once."""

    def emit(
        self, kind: str, operands: Sequence[str], attrs: Attrs | None = None, *, names: Sequence[str]
    ) -> list[str]:
        """Append an op whose results are called ``names``, made unique where taken. Returns the names."""

    def type(self, name: str) -> TensorType: ...


class LayerKind(OpKind):
    """An op that a spec can name: also its parameters, its weights and its gradient."""

    parameters: ClassVar[Sequence[Parameter]] = ()
    inputs: ClassVar[int | None] = 1
    """How many values flow in; none for any number from two (``add``, ``concat``)."""
    needs: ClassVar[tuple[str, ...]] = ()
    """What the gradient reads beside the results' gradients: ``input``, ``output``, ``result_1`` ..., ``weights``."""
    weight_roles: ClassVar[Sequence[str]] = ()
    """Trained parameters, operands after the inputs in this order; each role is a Parameter, its initialiser."""
    state_roles: ClassVar[Mapping[str, float]] = {}
    """Arrays that a step updates without a gradient, each with its first number; operands after the weights."""
    random: ClassVar[bool] = False
    """Whether the op draws numbers: it gets the step as its last operand and the attributes ``seed`` and ``stream``; in
    a slice of a batch also ``first``, its first image's place in the batch."""
    loss: ClassVar[bool] = False
    """Whether the result is a scalar to minimise; losses and metrics take labels after their input."""
    metric: ClassVar[bool] = False
    """Whether the result is a scalar to report, without a gradient."""
    aliases: ClassVar[Mapping[str, Attrs]] = {}
    """Other names of the kind, each with the arguments that it stands for."""
    sees: ClassVar[bool] = False
    """Whether ``sees = all`` says something: the kind's result mixes all channels of its input."""

    def weights(self, types: Types, attrs: Attrs) -> Sequence[Weight]:
        """The weights and state that inputs of these types need, roles as declared. Raises ShapeError."""
        return ()

    def whole_batch(self, attrs: Attrs) -> bool:
        """Whether in training an image's result hangs on the others of its batch, so that slices of it would differ."""
        return False

    def meaning(self, types: Types, attrs: Attrs) -> Mapping[str, str]:
        """What decides the value on operands of these (whole) types, in words: ops of which it is equal compute the
        same from the same weights, however their arguments are written."""
        return {p.name: value_text(attrs[p.name]) for p in self.parameters if p.name not in self.weight_roles}

    def predict(self, op: Op) -> Op | None:
        """The op in place of ``op`` when the net predicts instead of training; none where it is the identity then."""
        return op

    def gradient(
        self, emit: Emitter, op: Op, grads: Sequence[str | None], wanted: Sequence[bool]
    ) -> Sequence[str | None]:
        """Emit the ops that turn the results' gradients into the operands' (none where not wanted).

        ``grads`` holds a name for each result, or none where nothing depends on it; ``wanted`` says for each operand
        whether its gradient is asked for.
        """
        raise NotImplementedError(f"{self.name} has no gradient")

    @property
    def doc(self) -> str:
        """The kind's description, printed by ``alexdsl layers``."""
        return (self.__doc__ or "").strip()


class Initialiser(ABC):
    """A rule for a weight's first values, a call in the spec: ``normal(0.01)``."""

    name: ClassVar[str]
    parameters: ClassVar[Sequence[Parameter]] = ()

    @abstractmethod
    def values(self, shape: tuple[int, ...], fans: tuple[int, int], attrs: Attrs, draw: Draw) -> Array:
        """float32 values of the whole (uncut) weight."""


class Draw(Protocol):
    """Random numbers of one weight, in element order."""

    def normals(self, count: int) -> NDArray[np.float64]: ...

    def uniforms(self, count: int) -> NDArray[np.float64]: ...


class SolverKind(OpKind):
    """An op that updates parameters from their gradients, and the settings of the spec's ``solver`` block.

    Operands are weight, states and gradient of each parameter, and last the scalars of the step; results are weight and
    states of each.
    """

    first_stage = "differentiated"
    parameters: ClassVar[Sequence[Parameter]] = ()
    states: ClassVar[Sequence[str]] = ("velocity",)
    """Arrays of a parameter's shape that updates keep from step to step, zero at first."""
    scalars: ClassVar[Sequence[str]] = ("rate",)
    """What every step brings: ``rate``, the schedule's factor, and perhaps ``step``, the steps done before."""
    rates: ClassVar[Sequence[str]] = ("lr", "decay", "momentum")
    """Settings that blocks may change for some parameters."""
    inplace: ClassVar[Mapping[int, int]] = {0: 0, 1: 1}

    @property
    def flow(self) -> int:
        return len(self.states) + 1

    @abstractmethod
    def update(
        self, weight: Array, states: Sequence[Array], grad: Array, scalars: Sequence[Array], attrs: Attrs
    ) -> Sequence[Array]:
        """The new weight and states of one parameter, by the textbook definition."""

    def split(self, items: Sequence[T]) -> tuple[list[Sequence[T]], Sequence[T]]:
        """Operands, or what stands for them: weight, states and gradient of each parameter, and the scalars."""
        end, each = len(items) - len(self.scalars), len(self.states) + 2
        return [items[i : min(i + each, end)] for i in range(0, end, each)], items[end:]

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        parameters, scalars = self.split(types)
        each = len(self.states) + 2
        whole = parameters and all(len(found) == each and len({t.shape for t in found}) == 1 for found in parameters)
        if not whole or any(t.shape for t in scalars):
            arrays, ends = ", ".join(("weight", *self.states)), " and the ".join(self.scalars)
            raise ShapeError(f"takes {arrays} and gradient of each parameter, all of a shape, and the {ends}")
        return [t for found in parameters for t in found[:-1]]

    def cuts(self, types: Types, attrs: Attrs) -> tuple[Sequence[Cut], Sequence[Cut]]:
        parameters, scalars = self.split(types)
        each = len(self.states) + 1
        return [*[0] * (len(types) - len(scalars)), *[WHOLE] * len(scalars)], [0] * (each * len(parameters))

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        parameters, scalars = self.split(arrays)
        return [
            np.asarray(new, found[0].dtype)
            for found in parameters
            for new in self.update(found[0], found[1:-1], found[-1], scalars, attrs)
        ]

    def replaced(self, operands: int) -> Mapping[int, int]:
        kept, each = len(self.states) + 1, len(self.states) + 2
        return {kept * i + j: each * i + j for i in range((operands - len(self.scalars)) // each) for j in range(kept)}


@dataclass(frozen=True)
class Progress:
    """How far training is: steps done, images seen over images in an epoch, each validation's metrics in order, and the
    steps of the whole run."""

    step: int
    epoch: float
    validations: Sequence[Mapping[str, float]] = ()
    steps: int = 1


class Schedule(ABC):
    """A rule for the learning rate's factor; it depends on nothing but the progress, so a resumed run agrees."""

    name: ClassVar[str]
    parameters: ClassVar[Sequence[Parameter]] = ()

    @abstractmethod
    def factor(self, progress: Progress, attrs: Attrs) -> float:
        """What the learning rates of the next step are multiplied by."""


N = TypeVar("N", OpKind, Initialiser, Schedule)


@dataclass(frozen=True)
class Registry:
    """The op kinds, initialisers and schedules that a compiler knows; handed in, never global."""

    ops: Mapping[str, OpKind] = field(default_factory=dict)
    initialisers: Mapping[str, Initialiser] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)

    def extended(
        self, ops: Iterable[OpKind] = (), initialisers: Iterable[Initialiser] = (), schedules: Iterable[Schedule] = ()
    ) -> Registry:
        """This registry and more kinds. Raises ValueError when two share a name."""
        return Registry(
            _added("op kinds", self.ops, ops),
            _added("initialisers", self.initialisers, initialisers),
            _added("schedules", self.schedules, schedules),
        )

    @cached_property
    def layers(self) -> Mapping[str, LayerKind]:
        return {name: kind for name, kind in self.ops.items() if isinstance(kind, LayerKind)}

    @cached_property
    def solvers(self) -> Mapping[str, SolverKind]:
        return {name: kind for name, kind in self.ops.items() if isinstance(kind, SolverKind)}

    def __getitem__(self, name: str) -> OpKind:
        return self.ops[name]

    def replaced(self, op: Op) -> Mapping[int, int]:
        """The results of an op that take over the storage of an operand (result: operand)."""
        if "+" not in op.kind:
            return self[op.kind].replaced(len(op.operands))
        found, before = {}, 0
        for position, step in enumerate(op.attrs["steps"]):
            kind = self[step["kind"]]
            for result, operand in kind.replaced(step["operands"]).items():
                given = bool(position) and operand > kind.flow
                found[op.attrs["keep"].index(f"{position}.{result}")] = before + operand - given
            before += step["operands"] - bool(position)
        return found


def _added(what: str, known: Mapping[str, N], more: Iterable[N]) -> Mapping[str, N]:
    merged = dict(known)
    for item in more:
        if merged.setdefault(item.name, item) is not item:
            raise ValueError(f"two {what} are called '{item.name}'")
    return merged
