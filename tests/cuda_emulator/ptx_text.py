"""Small PTX kernels for tests: a body between loads of its inputs and stores of its results, one element a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from alexdsl_cuda import emulator

Array = npt.NDArray[Any]
HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"
DTYPES = {
    "u8": np.uint8, "s8": np.int8, "u16": np.uint16, "s16": np.int16, "b16": np.uint16, "u32": np.uint32,
    "s32": np.int32, "b32": np.uint32, "u64": np.uint64, "s64": np.int64, "b64": np.uint64, "f32": np.float32,
    "f64": np.float64,
}  # fmt: skip
REGISTERS = """
  .reg .pred p, q, r;
  .reg .b16 ha, hb, hc, hd;
  .reg .b32 wa, wb, wc, wd;
  .reg .b64 la, lb, lc, ld, %at, %offset;
  .reg .f32 fa, fb, fc, fd;
  .reg .f64 da, db, dc, dd;
  .reg .b32 %t;
"""


def kernel(body: str, params: Sequence[str] = (), declarations: str = "", head: str = "") -> str:
    """A PTX text with the entry ``k``; ``params`` are such as ``.param .u64 x``."""
    listed = ",\n".join(f"  {p}" for p in params)
    return f"{HEAD}{head}\n.visible .entry k(\n{listed}\n)\n{{{REGISTERS}{declarations}\n{body}\n}}\n"


def place(param: str, size: int, register: str = "%at") -> str:
    """Code that puts the address of this thread's element of an array into a register."""
    return (
        f"  mov.u32 %t, %tid.x;\n  ld.param.u64 {register}, [{param}];\n"
        f"  mul.wide.u32 %offset, %t, {size};\n  add.s64 {register}, {register}, %offset;\n"
    )


def elementwise(code: str, inputs: Mapping[str, tuple[str, Any]], output: tuple[str, str]) -> Array:
    """Runs code for each element: ``inputs`` are by register their type and values, ``output`` a register and type."""
    arrays = {name: np.ascontiguousarray(values, DTYPES[type]) for name, (type, values) in inputs.items()}
    count = max(len(a) for a in arrays.values())
    register, type = output
    result = np.zeros(count, DTYPES[type])
    body = ""
    for name, array in arrays.items():
        body += place(f"in_{name}", array.itemsize) + f"  ld.global.{inputs[name][0]} {name}, [%at];\n"
    body += code + "\n" + place("out", result.itemsize) + f"  st.global.{type} [%at], {register};\n  ret;"
    text = kernel(body, [*(f".param .u64 in_{name}" for name in arrays), ".param .u64 out"])
    pointers = [a.ctypes.data for a in (*arrays.values(), result)]
    emulator.launch(emulator.Module(text), "k", (1, 1, 1), (count, 1, 1), pointers)
    return result


def rounded(value: Fraction, mode: str) -> np.float32:
    """A number as f32, by definition: to nearest even, or the next one in a direction. Zero is positive."""
    near = np.float32(float(value))
    candidates = sorted({np.nextafter(near, np.float32(s * np.inf)) for s in (-1, 1)} | {near}, key=float)
    exact = [(Fraction(float(c)), c) for c in candidates if np.isfinite(c)]
    below = [c for f, c in exact if f <= value]
    above = [c for f, c in exact if f >= value]
    if mode == "rz":
        mode = "rm" if value >= 0 else "rp"
    if mode == "rm":
        return below[-1]
    if mode == "rp":
        return above[0]
    low, high = below[-1], above[0]
    gap = (value - Fraction(float(low))) - (Fraction(float(high)) - value)
    if gap == 0:
        return low if int(low.view(np.uint32)) % 2 == 0 else high
    return low if gap < 0 else high


def assert_same(found: Array, expected: Any) -> None:
    """Equality bit for bit, but any NaN for any other."""
    expected = np.asarray(expected, found.dtype)
    if found.dtype.kind == "f":
        assert (np.isnan(found) == np.isnan(expected)).all()
        bits = f"u{found.itemsize}"
        good = np.isnan(expected) | (found.view(bits) == expected.view(bits))
        assert good.all(), (found[~good], expected[~good])
    else:
        np.testing.assert_array_equal(found, expected)
