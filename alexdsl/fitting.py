"""Whether a net fits: its planned arenas against the memory of the real devices, and the largest batch that does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from alexdsl.ir.backend import Backend
from alexdsl.ir.protocol import ShapeError
from alexdsl.passes.pipeline import Options, at_stage
from alexdsl.spec import Spec

SHARE = 0.9
"""The part of a device's memory that arenas may take: Python, kernels and waiting images need some as well."""
RUN = ("train", "predict")
"""The modes of a run, which holds both at once."""


@dataclass
class Plans:
    """What a net needs on a backend for some modes at once, by batch; every plan is made once."""

    spec: Spec
    backend: Backend
    modes: Sequence[str] = RUN
    _known: dict[tuple[str, int], Mapping[str, int]] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        """The spec's own."""
        batch: int = self.spec.graph.attrs["batch"]
        return batch

    def arenas(self, mode: str, batch: int | None = None) -> Mapping[str, int]:
        """The planned bytes of each logical device. Raises Gap."""
        batch = batch or self.batch
        if (mode, batch) not in self._known:
            own = batch == self.batch
            graph = (self.spec if own else self.spec.with_batch(batch)).graph
            options = Options(self.spec.registry, self.backend, mode, draft=not own)
            self._known[mode, batch] = at_stage(graph, options, "scheduled").attrs["arenas"]
        return self._known[mode, batch]


def fullest(
    plans: Plans, bound: Mapping[str, str], rooms: Mapping[str, int], batch: int | None = None
) -> tuple[str, int]:
    """The real device that comes nearest to its room, and the bytes that the modes need there."""
    needed = dict.fromkeys(rooms, 0)
    for mode in plans.modes:
        for logical, size in plans.arenas(mode, batch).items():
            needed[bound[logical]] += size
    device = max(needed, key=lambda name: needed[name] / rooms[name])
    return device, needed[device]


def largest_batch(plans: Plans, bound: Mapping[str, str], rooms: Mapping[str, int]) -> int:
    """The largest batch with which all real devices hold what the modes need; 0 if none does."""

    def share(batch: int) -> float:
        device, needed = fullest(plans, bound, rooms, batch)
        return needed / (SHARE * rooms[device])

    batch, unit = plans.batch, plans.spec.graph.attrs.get("slices", 1)
    try:
        return _largest(share, unit, batch)
    except ShapeError:  # a layer that takes certain batches only, such as batch_norm(over = n)
        return _largest(share, batch, batch)


def _largest(share: Callable[[int], float], unit: int, batch: int) -> int:
    """The largest multiple of ``unit`` whose ``share`` of the room is at most 1, 0 where none is.

    Memory is affine in the batch but for alignment and the packing of buffers, so a line through two plans finds it,
    and a plan there confirms it.
    """
    low, less = batch, share(batch)
    # As if all memory grew with the batch: near the end if there is room for many, and never beyond it by much.
    high = max(2 * batch, int(batch / less) // unit * unit)
    more = share(high)
    for _ in range(8):
        slope = max(1e-12, (more - less) / (high - low))
        guess = int(high + (1 - more) / slope) // unit * unit
        if guess <= 0:
            return 0
        needed = share(guess)
        if needed <= 1:
            return guess
        # The packing is worse here than the line says: draw it anew, through this plan and the one before.
        low, less, high, more = high, more, guess, needed
    return batch if share(batch) <= 1 else 0
