"""Question 3, again: which loops LLVM turned into vector code, and what each fastmath flag is worth."""

import re
import sys

import numpy as np
from numba import njit

from benchmarks.measure import nchw, nhwc
from benchmarks.measure.setup import normal
from benchmarks.measure.timing import compare, table

LOOPS = ("copy", "add", "im2col", "col2im", "bias_relu", "lrn", "lrn_relu_backward", "maxpool", "maxpool_backward")
SAFE = {"reassoc", "contract", "arcp", "nsz", "afn"}  # everything but nnan and ninf: a NaN stays a NaN
CHOICES = {"fastmath=True": True, "without nnan, ninf": SAFE, "contract only": {"contract"}, "off": False}
MNEMONICS = r"\tv(?:add|sub|mul|max|sqrt|rsqrt14|div|fmadd\w*|fnmadd\w*|cmp\w*)(ps|ss)\b.*"


def vector_share(assembly: str) -> tuple[int, int, int]:
    """Arithmetic instructions on 512, 256 bits, and on single floats (the scalar remainder loops are always there)."""
    lines = list(re.finditer(MNEMONICS, assembly))
    packed = [m.group(0) for m in lines if m.group(1) == "ps"]
    return sum("%zmm" in p for p in packed), sum("%ymm" in p for p in packed), sum(m.group(1) == "ss" for m in lines)


def assembly() -> None:
    rows = []
    for name in LOOPS:
        row: list[object] = [name]
        for module in (nhwc, nchw):
            if module is nchw and name in ("copy", "add"):
                row += [""] * 2
                continue
            function = getattr(module, name)
            fresh = njit(function.nopython_signatures[0], fastmath=True, error_model="numpy")(function.py_func)
            text = next(iter(fresh.inspect_asm().values()))
            wide, half, single = vector_share(text)
            moves = len(re.findall(r"\tvmov\w+.*%[yz]mm", text))
            row += [f"{wide}/{half}/{single}", moves]
        rows.append(row)
    table(
        ["loop", "NHWC: 512/256/scalar arithmetic", "vector moves", "NCHW: 512/256/scalar arithmetic", "vector moves"],
        rows,
    )


def flags(seconds: float) -> None:
    pixels, maps = 3025, 48
    y, dz = np.maximum(100 * normal(pixels, maps), 0), normal(pixels, maps)
    z, dy, out = np.empty_like(y), np.empty_like(y), np.empty((729, maps), np.float32)
    winner, bias = np.empty((729, maps), np.uint8), 0 * normal(maps)
    squares, terms = np.zeros((55, maps + 4), np.float32), np.zeros((55, maps + 4), np.float32)
    arguments = {
        "bias_relu": (y, bias),
        "lrn": (y, squares, z),
        "lrn_relu_backward": (y, dz, squares, terms, dy),
        "maxpool": (y, out, winner, 55, 0, 27),
    }
    rows = []
    for name, args in arguments.items():
        function = getattr(nhwc, name)
        calls = {}
        for choice, fastmath in CHOICES.items():
            kernel = njit(function.nopython_signatures[0], fastmath=fastmath, error_model="numpy")(function.py_func)
            calls[choice] = lambda k=kernel, a=args: k(*a)
        rows.append([name, *(1e6 * t for t in compare(calls, seconds).values())])
    table(["one image NHWC, us", *CHOICES], rows)


if __name__ == "__main__":
    assembly()
    flags(float(sys.argv[1]) if len(sys.argv) > 1 else 0.7)
