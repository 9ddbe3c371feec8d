"""The sizes of a convolution, or of a linear layer, which is the convolution of images of one pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import gcd

from alexdsl.layers.window import Axis

POINT = Axis(1, 1, 1, 0, 0, 1, 1)


@dataclass(frozen=True)
class Geometry:
    """``channels`` x rows x columns of ``images`` to ``maps``, in groups that see only their own channels."""

    images: int
    channels: int
    maps: int
    rows: Axis
    columns: Axis
    groups: int = 1

    @staticmethod
    def linear(images: int, inputs: int, units: int) -> Geometry:
        return Geometry(images, inputs, units, POINT, POINT)

    @cached_property
    def inputs(self) -> int:
        """Channels of a group."""
        return self.channels // self.groups

    @cached_property
    def outputs(self) -> int:
        """Maps of a group."""
        return self.maps // self.groups

    @cached_property
    def taps(self) -> int:
        return self.rows.kernel * self.columns.kernel

    @cached_property
    def window(self) -> int:
        """Numbers in a window of a group."""
        return self.taps * self.inputs

    @cached_property
    def pixels(self) -> int:
        """Output pixels."""
        return self.images * self.rows.out * self.columns.out

    @cached_property
    def multiply_adds(self) -> int:
        """Those of each of the three products, were every tap inside of the image."""
        return self.pixels * self.maps * self.window

    @property
    def inside(self) -> bool:
        """Whether no window reaches over the image's edge."""
        return all(a.before == 0 and a.unread >= a.after for a in (self.rows, self.columns))

    @property
    def same(self) -> bool:
        """Whether the output has the input's pixels."""
        return all(a.stride == 1 and a.size == a.out for a in (self.rows, self.columns))

    @property
    def pointwise(self) -> bool:
        """Whether a window is the pixel that it makes."""
        return self.taps == 1 and self.same

    @property
    def phases(self) -> int:
        """Kinds of pixels by the taps that read them."""
        return self.rows.stride * self.columns.stride

    @property
    def steps(self) -> tuple[int, int]:
        """From a tap that reads a pixel to the next that does, along both axes."""
        down, right = (a.stride // gcd(a.stride, a.dilation) for a in (self.rows, self.columns))
        return down, right

    @property
    def hops(self) -> tuple[int, int]:
        """Output pixels from one such tap's to the next's."""
        down, right = (a.dilation // gcd(a.stride, a.dilation) for a in (self.rows, self.columns))
        return down, right

    @property
    def constants(self) -> dict[str, int]:
        rows, columns = self.rows, self.columns
        taps_x = -(-columns.kernel // self.steps[1])
        return {
            "IMAGES": self.images, "HEIGHT": rows.size, "WIDTH": columns.size, "CHANNELS": self.channels,
            "OUT_H": rows.out, "OUT_W": columns.out, "MAPS": self.maps, "PIXELS": self.pixels, "GROUPS": self.groups,
            "INPUTS": self.inputs, "OUTPUTS": self.outputs, "KH": rows.kernel, "KW": columns.kernel,
            "SH": rows.stride, "SW": columns.stride, "DH": rows.dilation, "DW": columns.dilation,
            "TOP": rows.before, "LEFT": columns.before, "PHASES": self.phases, "STEP_H": self.steps[0],
            "STEP_W": self.steps[1], "TAPS_X": taps_x, "HOP_H": self.hops[0], "HOP_W": self.hops[1], "SAME": self.same,
            "KW_INVERSE": inverse(columns.kernel, self.taps), "OUT_W_INVERSE": inverse(columns.out, self.pixels),
            "OUT_H_INVERSE": inverse(rows.out, self.images * rows.out),
            "TAPS_X_INVERSE": inverse(taps_x, self.taps), "FEWER_INVERSE": inverse(taps_x - 1, self.taps),
        }  # fmt: skip


def inverse(divisor: int, below: int) -> int:
    """What ``quotient`` divides numbers below a bound by the divisor with. Raises ValueError where it cannot."""
    if divisor * below >= 1 << 32:
        raise ValueError(f"numbers up to {below} cannot be divided by {divisor} in 32 bits")
    return (1 << 32) // divisor + 1 if divisor > 1 else 0
