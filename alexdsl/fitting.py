"""Whether a net fits: its planned arenas against the memory of the real devices, and the largest batch that does."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alexdsl.ir.backend import Backend
from alexdsl.ir.protocol import ShapeError
from alexdsl.passes.pipeline import Options, at_stage
from alexdsl.spec import Spec

SHARE = 0.9
"""The part of a device's memory that arenas may take: Python, kernels and waiting images need some as well."""
MODES = ("train", "predict")


def arenas(spec: Spec, backend: Backend, mode: str) -> Mapping[str, int]:
    """The planned bytes of each logical device. Raises Gap."""
    found: Mapping[str, int] = at_stage(spec.graph, Options(spec.registry, backend, mode), "scheduled").attrs["arenas"]
    return found


def fullest(spec: Spec, backend: Backend, bound: Mapping[str, str], rooms: Mapping[str, int]) -> tuple[str, int]:
    """The real device that comes nearest to its room, and the bytes that training and prediction need there."""
    needed = dict.fromkeys(rooms, 0)
    for mode in MODES:
        for logical, size in arenas(spec, backend, mode).items():
            needed[bound[logical]] += size
    device = max(needed, key=lambda name: needed[name] / rooms[name])
    return device, needed[device]


def largest_batch(spec: Spec, backend: Backend, bound: Mapping[str, str], rooms: Mapping[str, int]) -> int:
    """The largest batch with which all real devices hold what training and prediction need; 0 if none does."""
    known: dict[int, float] = {}

    def share(batch: int) -> float:
        if batch not in known:
            device, needed = fullest(spec.with_batch(batch), backend, bound, rooms)
            known[batch] = needed / (SHARE * rooms[device])
        return known[batch]

    batch, unit = spec.graph.attrs["batch"], spec.graph.attrs.get("slices", 1)
    try:
        return _largest(share, unit, batch)
    except ShapeError:  # a layer that takes certain batches only, such as batch_norm(over = n)
        return _largest(share, batch, batch)


def _largest(share: Callable[[int], float], unit: int, batch: int) -> int:
    """The largest multiple of ``unit`` whose ``share`` of the room is at most 1, 0 where none is.

    Memory is affine in the batch but for alignment and the packing of buffers, so a line through two plans finds it,
    and a plan there confirms it.
    """
    low, high = batch, 2 * batch
    less, more = share(low), share(high)
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
