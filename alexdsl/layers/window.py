"""Sliding windows, shared by convolution and pooling: output sizes, padding, and windows of an array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alexdsl.ir.graph import Attr, Attrs
from alexdsl.ir.parameters import value_text
from alexdsl.ir.protocol import Array, ShapeError
from alexdsl.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Axis:
    """A window's travel along one axis: ``size`` pixels give ``out`` windows, ``before`` and ``after`` are the pads."""

    size: int
    kernel: int
    stride: int
    before: int
    after: int
    dilation: int
    out: int

    @property
    def reach(self) -> int:
        """The pixels that one window spans."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def unread(self) -> int:
        """Pixels (pad included) after the last window; negative where it hangs over the end."""
        return self.size + self.before + self.after - self.reach - (self.out - 1) * self.stride


def axes(shape: tuple[int, ...], attrs: Attrs, *, inside: bool = False) -> tuple[Axis, Axis]:
    """The two axes of windows over [N, C, H, W] maps, by ``kernel stride pad dilation round`` of ``attrs``.

    Without a stride, windows lie side by side. ``inside``: under ``round = ceil`` a window must start inside the image
    or its leading pad (pooling). Raises ShapeError where no window fits.
    """
    if len(shape) != 4:
        raise ShapeError(f"expects maps [N, C, H, W], and gets a value of {len(shape)} axes")
    pads = attrs["pad"]
    strides = attrs["stride"] or attrs["kernel"]
    dilation = attrs.get("dilation", (1, 1))
    found = []
    for i, what in enumerate(("high", "wide")):
        pad: Attr = pads if pads == "same" else (pads[2 * i], pads[2 * i + 1])
        found.append(
            _axis(shape[2 + i], attrs["kernel"][i], strides[i], pad, dilation[i], attrs["round"], inside, what)
        )
    return found[0], found[1]


def _axis(
    size: int, kernel: int, stride: int, pad: Attr, dilation: int, round: str | None, inside: bool, what: str
) -> Axis:
    reach = dilation * (kernel - 1) + 1
    if pad == "same":
        out = -(-size // stride)
        total = max(0, (out - 1) * stride + reach - size)
        return Axis(size, kernel, stride, total // 2, total - total // 2, dilation, out)
    before, after = pad
    space = size + before + after - reach
    if space < 0 and not (round == "ceil" and space > -stride):
        raise ShapeError(
            f"a window {reach} {what} does not fit into an input {size} {what}"
            + (f" with pad {before} + {after}" if before + after else ""),
            "a larger input, a smaller kernel, more pad or fewer layers that shrink the maps before it",
        )
    out = space // stride + 1
    if round == "ceil" and space % stride:
        starts_inside = out * stride < size + before
        out += 1 if starts_inside or not inside else 0
    return Axis(size, kernel, stride, before, after, dilation, out)


def pool_axes(shape: tuple[int, ...], attrs: Attrs) -> tuple[Axis, Axis]:
    """The axes of pooling windows: each of them holds a pixel of the image. Raises ShapeError."""
    rows, columns = axes(shape, attrs, inside=True)
    for axis in (rows, columns):
        pad = max(axis.before, axis.after)
        if pad >= axis.kernel:
            raise ShapeError(
                f"a window of {axis.kernel} would lie wholly in a pad of {pad}",
                f"a pad of at most {axis.kernel - 1}, or a larger kernel",
            )
    return rows, columns


def travel_text(axes: tuple[Axis, Axis]) -> dict[str, str]:
    """What decides which pixels windows meet, in words: pads and roundings that come to the same are the same."""
    rows, columns = axes
    edges = [max(0, -a.unread) for a in axes]
    found = {
        "kernel": value_text((rows.kernel, columns.kernel)),
        "stride": value_text((rows.stride, columns.stride)),
        "pad": value_text(tuple(n for a in axes for n in (a.before, a.after))),
        "windows": f"{rows.out}x{columns.out}" + (", the last ones hang over the edge" if any(edges) else ""),
    }
    if (rows.dilation, columns.dilation) != (1, 1):
        found["dilation"] = value_text((rows.dilation, columns.dilation))
    return found


def expect_maps(type: TensorType) -> None:
    """Raises ShapeError unless the value is [N, C, H, W] maps."""
    if len(type.shape) != 4:
        raise ShapeError(f"expects maps [N, C, H, W], and gets {type}")


def padded(x: Array, rows: Axis, columns: Axis, value: float) -> Array:
    """``x`` with its pads filled by ``value``, and as much more as a last window overhangs."""
    spans = [(a.before, max(0, (a.out - 1) * a.stride + a.reach - a.size - a.before)) for a in (rows, columns)]
    return np.pad(x, ((0, 0), (0, 0), *spans), constant_values=value)


def taps(rows: Axis, columns: Axis) -> list[tuple[slice, slice]]:
    """For each tap of the kernel, row by row, the index of the padded maps that it meets in every window."""
    return [
        (
            slice(i * rows.dilation, i * rows.dilation + (rows.out - 1) * rows.stride + 1, rows.stride),
            slice(j * columns.dilation, j * columns.dilation + (columns.out - 1) * columns.stride + 1, columns.stride),
        )
        for i in range(rows.kernel)
        for j in range(columns.kernel)
    ]


def unpadded(x: Array, rows: Axis, columns: Axis) -> Array:
    """The image's part of padded maps."""
    return x[:, :, rows.before : rows.before + rows.size, columns.before : columns.before + columns.size]
