"""What the compiler asks of a backend: its offers; what the trainer asks of it: a loaded program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from alexdsl.ir.graph import Graph, Launch, Op
from alexdsl.ir.protocol import Array, OpKind, Types

Progress: TypeAlias = Callable[[str], None]
"""Hears what is being done, in a few words."""


def silent(text: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way of computing an op: its name, the scratch memory it needs, and its expected cost in seconds.

    ``precision`` is what its products are computed in: ``fp32``, or ``bf16`` with sums in fp32.
    """

    name: str
    workspace: int = 0
    cost: float = 0.0
    precision: str = "fp32"


class Unavailable(Exception):
    """A device that cannot be used here; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What a device does at most in a second, and how that is known."""

    multiply_adds: float
    bytes: float
    source: str


class Fault(Exception):
    """A kernel that does not compile or run; the message names it, and where it ran the layer and its place as well."""


class Gap(Exception):
    """The backend has no kernel for an op; the message names both."""


class Backend(Protocol):
    """A backend's offers import no compiler of kernels; ``load`` does."""

    name: str
    devices: Sequence[str]
    """The sorts of real devices that its programs run on, such as ``cuda``, of which ``cuda:1`` is the second."""

    imagined: Sequence[str]
    """Those of them that need no hardware, and are for looking at programs rather than for training."""
    prefetches: bool
    """Whether inputs are brought to the devices while they compute, into memory of their own."""

    def bind(self, device: str, logical: Sequence[str]) -> Mapping[str, str]:
        """The real device for each logical one when ``device``, one or a sort of them, is asked for all. Raises
        Unavailable."""

    def memory(self, real: str) -> int:
        """Bytes of memory that a real device has."""

    def rates(self, real: str) -> Rates | None:
        """How fast a real device is, by measurement or by its maker; none where that says nothing."""

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        """Whether a kernel computes these ops in one go; ``keeps``: also storing the value before the last."""

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        """The layouts in which the op's kernels read its operands and write its results."""

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        """The ways of computing an op. Raises Gap where there is none."""

    def lower(self, graph: Graph) -> Graph:
        """scheduled -> program: the graph with the launches of every op and the sources of their kernels."""

    forms: Sequence[str]
    """How a kernel can be shown: as its ``source``, and by names of the backend's own."""
    cards: Sequence[str]
    """Machines whose figures it knows, by which forms may differ; none where it has but one."""

    def show(self, program: Graph, kernel: str, form: str, card: str) -> str:
        """A kernel as text. Raises Unavailable where what makes it is not installed."""

    def resources(self, program: Graph, op: Op, launch: Launch, card: str) -> Mapping[str, str]:
        """What a launch uses of a card, by headings; for the form ``resources``. Raises Unavailable."""

    def load(
        self, program: Graph, bound: Mapping[str, str], threads: int | None = None, progress: Progress = silent
    ) -> Executable:
        """The program with its kernels compiled and its arenas allocated on the real devices to which the logical ones
        are ``bound``; ``progress`` hears of each kernel. Raises Unavailable, MemoryError."""


class Executable(Protocol):
    """A loaded program: buffers that live as long as it does, and a run over its launches."""

    @property
    def arenas(self) -> Mapping[str, int]:
        """Bytes allocated on each device."""

    def read(self, value: str) -> Array:
        """A copy of a value's array in the logical layout; the value must be alive: a leaf or an output."""

    def write(self, value: str, array: Array, row: int = 0) -> None:
        """Set a leaf, or some of its rows from ``row`` on. Raises ValueError where the shape does not fit."""

    def run(self) -> None:
        """All launches once, in order. Raises Fault.

        It may return before they are done: ``read`` waits for them, inputs may be written meanwhile for the next run.
        """

    def timed(self) -> Sequence[tuple[Op, float]]:
        """A run in which every op is done before the next begins: the ops and what each took, in seconds."""

    def watched(self, seen: Callable[[Op], None]) -> None:
        """``run`` in which every op is done before the next begins: the same launches in the same order. ``seen`` hears
        of each op that computes when it is done, and may then ``peek`` at what is alive, such as its results. Raises
        Fault."""

    def peek(self, value: str) -> Array:
        """``read`` without the promise of a copy: a look at what the next op may overwrite, not to be written to."""

    def close(self) -> None:
        """Give threads and memory back."""
