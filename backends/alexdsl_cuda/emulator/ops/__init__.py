"""What each PTX instruction means, as LLVM IR: a file per kind of instruction, put together here by opcode."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alexdsl_cuda.emulator.emit import Emitter
from alexdsl_cuda.emulator.ops import arithmetic, bits, control, convert, floats, memory
from alexdsl_cuda.emulator.ptx import Instruction

OPS: Mapping[str, Callable[[Emitter, Instruction], None]] = {
    **arithmetic.OPS, **floats.OPS, **bits.OPS, **convert.OPS, **memory.OPS, **control.OPS,
}  # fmt: skip
"""By an opcode's first word: what writes its IR. Sync points are in ``warp.py``, jumps in ``translate.py``."""
