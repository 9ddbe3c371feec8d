"""Types of values: element type, logical shape and layout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

ITEM_BYTES = {"f32": 4, "i32": 4, "i64": 8, "u8": 1}
NUMPY = {"f32": np.float32, "i32": np.int32, "i64": np.int64, "u8": np.uint8}
MAX_ELEMENTS = 2**62


@dataclass(frozen=True, slots=True)
class TensorType:
    """A dense array: ``f32[128,96,55,55]``; shapes are logical (N, C, H, W), ``layout`` says how they lie in memory.

    The empty layout is row-major in the logical order; a backend names the others.
    """

    dtype: str
    shape: tuple[int, ...]
    layout: str = ""

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * ITEM_BYTES[self.dtype]

    def with_shape(self, *shape: int) -> TensorType:
        return replace(self, shape=tuple(shape))

    def __str__(self) -> str:
        layout = f":{self.layout}" if self.layout else ""
        return f"{self.dtype}[{','.join(map(str, self.shape))}{layout}]"


def f32(*shape: int) -> TensorType:
    """A float32 array of this logical shape."""
    return TensorType("f32", shape)
