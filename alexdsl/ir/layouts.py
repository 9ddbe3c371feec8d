"""Layouts that backends share: how the logical NCHW shape of maps and filters may lie in memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod

from alexdsl.ir.protocol import Array
from alexdsl.ir.types import TensorType

MAPS = "nhwc"
"""The layout of maps: channels last, so that all channels of a pixel are one run in memory."""
FILTERS = "ohwi"
"""The layout of convolution weights: a filter in the order in which a window of such maps lies."""


def rows_of(type: TensorType) -> str:
    """The usual layout of an activation: channels last for maps, row-major for all else."""
    return MAPS if len(type.shape) == 4 else ""


def physical(type: TensorType) -> tuple[int, ...]:
    """The shape as it lies in memory."""
    if type.layout in (MAPS, FILTERS):
        n, c, h, w = type.shape
        return (n, h, w, c)
    return type.shape


def logical(view: Array, type: TensorType) -> Array:
    """An array in its physical order seen in the logical one."""
    return view.transpose(0, 3, 1, 2) if type.layout in (MAPS, FILTERS) else view


def place_of(type: TensorType, axis: int) -> int:
    """Where a logical axis lies in memory."""
    return {0: 0, 1: 3, 2: 1, 3: 2}[axis] if type.layout in (MAPS, FILTERS) else axis


def stride_of(type: TensorType, axis: int) -> int:
    """Numbers that one step along a logical axis skips."""
    return prod(physical(type)[place_of(type, axis) + 1 :])


def starts(parts: Sequence[TensorType], axis: int) -> Sequence[int]:
    """Where each of the parts that make a whole along a logical axis begins in its rows, in numbers."""
    return [0, *accumulate(part.shape[axis] * stride_of(part, axis) for part in parts)][:-1]
