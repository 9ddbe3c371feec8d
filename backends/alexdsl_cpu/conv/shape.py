"""What the strategies of a convolution ask about an op: its sizes, whichever of the three passes it is."""

from __future__ import annotations

from dataclasses import dataclass

from alexdsl.ir.graph import Op
from alexdsl.ir.protocol import Types
from alexdsl.layers.window import Axis, axes
from alexdsl_cpu.offer import head_attrs


@dataclass(frozen=True)
class Shape:
    """A convolution's sizes; ``inputs`` and ``filters`` are those of one group."""

    head: str
    images: int
    rows: Axis
    columns: Axis
    inputs: int
    filters: int
    groups: int
    bias: bool

    @property
    def window(self) -> int:
        """Numbers in a window of one group."""
        return self.inputs * self.rows.kernel * self.columns.kernel

    @property
    def geometry(self) -> tuple[int, ...]:
        """Kernel, stride, dilation and padding before, each of rows and of columns, as kernels take them."""
        pairs = ((axis.kernel, axis.stride, axis.dilation, axis.before) for axis in (self.rows, self.columns))
        return tuple(size for pair in zip(*pairs, strict=True) for size in pair)

    @property
    def multiply_adds(self) -> int:
        return self.copied * self.filters

    @property
    def copied(self) -> int:
        """Numbers in all windows."""
        return self.images * self.rows.out * self.columns.out * self.window * self.groups


def shape_of(op: Op, operands: Types, results: Types) -> Shape:
    """The sizes of ``conv``, ``conv_input_grad`` or ``conv_weight_grad``, or of a chain that begins with one."""
    head, attrs = op.kind.split("+")[0], head_attrs(op)
    x = results[0] if head == "conv_input_grad" else operands[0]
    rows, columns = axes(x.shape, attrs)
    groups = attrs["groups"]
    sizes = x.shape[1] // groups, attrs["maps"] // groups
    return Shape(head, x.shape[0], rows, columns, *sizes, groups, bool(attrs["bias"]))
