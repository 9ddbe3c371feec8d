"""Kernels that numba-cuda really compiles, run by the emulator, held against NumPy, and checked for faults."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda to compile to PTX: pip install alexdsl[cuda]")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from numba import cuda

    from tests.cuda_emulator import numba_kernels as kernels

from alexdsl_cuda import emulator
from alexdsl_cuda.emulator import Memory, Report

from tests.cuda_emulator.numba_arguments import arguments as parameters

RANDOM = np.random.default_rng(5)
FLOATS, DOUBLES = "float32[::1]", "float64[::1]"


@cache
def compiled(name: str, *types: str, lines: bool = False, capability: tuple[int, int] = (8, 0)) -> emulator.Module:
    """A kernel of ``numba_kernels.py`` with arguments of these types."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function = getattr(kernels, name)
        ptx, _ = cuda.compile_ptx(function, f"void({', '.join(types)})", cc=capability, lineinfo=lines)
    return emulator.Module(ptx)


def launch(module: emulator.Module, grid: Any, threads: int, *arguments: Any) -> None:
    (entry,) = module.kernels
    emulator.launch(module, entry, grid, (threads, 1, 1), parameters(*arguments))


def check(module: emulator.Module, grid: Any, threads: int, *arguments: Any, written: int, **options: Any) -> Report:
    """Checks a kernel whose first so many arrays have been written."""
    (entry,) = module.kernels
    memory = Memory()
    for k, array in enumerate(a for a in arguments if isinstance(a, np.ndarray)):
        memory.add(array, f"array {k}", written=k < written)
    report = emulator.check(module, entry, grid, (threads, 1, 1), parameters(*arguments), memory, **options)
    assert not report.findings, str(report)
    return report


def sequential(a: Any, b: Any) -> Any:
    """a b by one fused multiply-add after the other; products of f32 are exact in f64 and so, mostly, are the sums."""
    sums = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for k in range(a.shape[1]):
        sums = (a[:, k, None].astype(np.float64) * b[k] + sums).astype(np.float32)
    return sums


@pytest.mark.parametrize("capability", [(8, 0), (10, 0)])
def test_sgemm(capability: tuple[int, int]) -> None:
    """Up to sm_90 registers have the types of their values; later compilers know their widths only."""
    module = compiled("sgemm", *[FLOATS] * 3, *["int32"] * 3, capability=capability)
    a, b = RANDOM.normal(size=(256, 40)).astype(np.float32), RANDOM.normal(size=(40, 384)).astype(np.float32)
    c = np.zeros((256, 384), np.float32)
    launch(module, (3, 2, 1), 256, a, b, c, 256, 384, 40)
    # Rounding twice differs from rounding once in about one of 2**29 sums.
    assert np.count_nonzero(c != sequential(a, b)) <= 2
    d = np.zeros_like(c)
    report = check(module, (3, 2, 1), 256, a, b, d, 256, 384, 40, written=2)
    assert (c == d).all()
    assert report.counts.fma == 256 * 384 * 40
    assert report.counts.bytes_read == a.nbytes + b.nbytes
    assert report.counts.bytes_written == c.nbytes
    # Storing a transposed puts two lanes of a warp into each bank.
    stores = [a for a in report.counts.accesses if a.opcode in ("st.shared.f32", "st.shared.b32")]
    assert {s.transfers / s.ideal for s in stores} == {2.0}
    loads = [a for a in report.counts.accesses if a.opcode in ("ld.shared.v4.f32", "ld.shared.v4.b32")]
    assert {s.transfers / s.ideal for s in loads} == {1.0}


def test_implicit_gemm_convolution() -> None:
    module = compiled("conv_nhwc", *[FLOATS] * 3, *["int32"] * 7)
    images, side, channels, maps, size, pad = 2, 9, 16, 72, 3, 1
    x = RANDOM.normal(size=(images, side, side, channels)).astype(np.float32)
    w = RANDOM.normal(size=(size, size, channels, maps)).astype(np.float32)
    y = np.zeros((images, side, side, maps), np.float32)
    grid = (1, -(-images * side * side // 128), 1)
    launch(module, grid, 256, x, w, y, images, side, side, channels, maps, size, pad)
    padded = np.pad(x.astype(np.float64), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    expected = sum(
        padded[:, i : i + side, j : j + side] @ w[i, j].astype(np.float64) for i in range(size) for j in range(size)
    )
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    check(module, grid, 256, x, w, np.zeros_like(y), images, side, side, channels, maps, size, pad, written=2)


def test_direct_convolution() -> None:
    module = compiled("conv_direct", *[FLOATS] * 4, *["int32"] * 11)
    x, w = RANDOM.normal(size=(2, 4, 9, 8)).astype(np.float32), RANDOM.normal(size=(6, 2, 3, 3)).astype(np.float32)
    bias, y = RANDOM.normal(size=6).astype(np.float32), np.zeros((2, 6, 5, 4), np.float32)
    sizes = y.size, 4, 9, 8, 6, 5, 4, 3, 2, 1, 2
    launch(module, (2, 1, 1), 128, x, w, bias, y, *sizes)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    halves = [np.einsum("ncyxij,fcij->nfyx", windows[:, k : k + 2], w[3 * k // 2 : 3 * k // 2 + 3]) for k in (0, 2)]
    expected = np.maximum(np.concatenate(halves, axis=1) + bias[:, None, None], 0)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    report = check(module, (2, 1, 1), 128, x, w, bias, np.zeros_like(y), *sizes, written=3)
    assert report.counts.bytes_written == y.nbytes


def test_row_sums_by_shuffles() -> None:
    module = compiled("row_sums", FLOATS, FLOATS, "int32")
    x, y = RANDOM.normal(size=(7, 1000)).astype(np.float32), np.zeros(7, np.float32)
    launch(module, (7, 1, 1), 256, x, y, 1000)
    np.testing.assert_allclose(y, x.astype(np.float64).sum(axis=1), rtol=1e-4, atol=1e-4)
    check(module, (7, 1, 1), 256, x, np.zeros_like(y), 1000, written=1)


def test_max_pooling_with_indices() -> None:
    module = compiled("maxpool", FLOATS, FLOATS, "uint8[::1]", *["int32"] * 5)
    x = RANDOM.integers(-4, 5, (3, 14, 13)).astype(np.float32)
    rows, columns = 7, 6
    y, index = np.zeros((3, rows, columns), np.float32), np.zeros((3, rows, columns), np.uint8)
    grid = (-(-y.size // 128), 1, 1)
    launch(module, grid, 128, x, y, index, y.size, 14, 13, rows, columns)
    padded = np.pad(x, ((0, 0), (0, 1), (0, 0)), constant_values=-np.inf)
    windows = np.stack([padded[:, i : i + 13 : 2, j : j + 11 : 2] for i in range(3) for j in range(3)])
    assert (y == windows.max(axis=0)).all()
    assert (index == windows.argmax(axis=0)).all()
    check(module, grid, 128, x, y, index, y.size, 14, 13, rows, columns, written=1)


@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"), [("smooth", np.float32, 1e-6), ("smooth_double", np.float64, 1e-15)]
)
def test_mathematical_functions(name: str, dtype: Any, tolerance: float) -> None:
    arrays = FLOATS if dtype == np.float32 else DOUBLES
    x = np.exp(RANDOM.uniform(-6, 6, 300)).astype(dtype)
    y = np.zeros_like(x)
    launch(compiled(name, arrays, arrays, "int32"), (3, 1, 1), 128, x, y, 300)
    v = x.astype(np.float64)
    expected = np.exp(-v) + np.tanh(v) + np.log(v) + v**-0.75 + np.sqrt(v) + np.sin(v)
    expected += 0 if dtype == np.float32 else v / 3
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=4 * tolerance)


def test_integers_of_several_widths() -> None:
    module = compiled("mixed", "int32[::1]", "int64[::1]", "uint8[::1]", "int32")
    a = RANDOM.integers(-1000, 1000, 200).astype(np.int32)
    b = RANDOM.integers(-(10**12), 10**12, 200)
    c = RANDOM.integers(0, 256, 200).astype(np.uint8)
    wide = a // 7 + a % 5 - (a >> 2)
    expected = wide, b // 3 + (b << 5) + wide, ((c.astype(np.int64) * 3 + wide) & 255).astype(np.uint8)
    launch(module, (2, 1, 1), 128, a, b, c, 200)
    for found, value in zip((a, b, c), expected, strict=True):
        assert (found == value).all()


def test_products_of_bf16_with_copies_and_matrices() -> None:
    module = compiled("bf16_gemm", "uint16[::1]", "uint16[::1]", FLOATS, *["int32"] * 3)
    a, b = ((RANDOM.normal(size=s).astype(np.float32).view(np.uint32) >> 16) for s in ((128, 160), (160, 64)))
    halves = a.astype(np.uint16), b.astype(np.uint16)
    c = np.zeros((128, 64), np.float32)
    launch(module, (1, 2, 1), 128, *halves, c, 128, 64, 160)
    exact = [(v << 16).view(np.float32).astype(np.float64) for v in (a, b)]
    np.testing.assert_allclose(c, exact[0] @ exact[1], rtol=1e-4, atol=1e-4)
    report = check(module, (1, 2, 1), 128, *halves, np.zeros_like(c), 128, 64, 160, written=2)
    assert report.counts.fma == 128 * 64 * 160
    waves = [a for a in report.counts.accesses if a.opcode.startswith("ldmatrix")]
    assert {w.transfers / w.ideal for w in waves} == {1.0}


def test_a_fault_in_a_real_kernel_names_its_line() -> None:
    """Without the second barrier of the loop, tiles are overwritten while others still read them."""
    module = compiled("sgemm", *[FLOATS] * 3, *["int32"] * 3, lines=True)
    (entry,) = module.kernels
    function = module.program.functions[entry]
    barriers = [k for k, i in enumerate(function.body) if i.root == "bar"]
    function.body[barriers[-1]] = _left_out(function.body[barriers[-1]])
    a, b, c = (np.ones((128, 128), np.float32) for _ in range(3))
    memory = Memory()
    for array in (a, b, c):
        memory.add(array)
    given = parameters(a, b, c, 128, 128, 128)
    report = emulator.check(module, entry, (1, 1, 1), (256, 1, 1), given, memory)
    races = [f for f in report.findings if f.kind == "read-write race"]
    assert races
    assert all(f.source is not None and f.source[0].endswith("numba_kernels.py") for f in races)


def _left_out(i: Any) -> Any:
    return type(i)(i.index, "membar", ("cta",), (), None, i.line, i.source)
