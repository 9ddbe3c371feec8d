"""What compiled kernels call beyond Numba's own: BLAS's sgemm, tanh in vectors, the switch that flushes denormals."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import get_cython_function_address, intrinsic

SYMBOL = "alexdsl_sgemm"
# By symbol name, not by address: the address differs from process to process, and callers are cached on disk.
llvm.add_symbol(SYMBOL, get_cython_function_address("scipy.linalg.cython_blas", "sgemm"))

N, T = ord("N"), ord("T")
f32 = np.float32


@njit
def tanh(x):
    """Lambert's continued fraction of a quarter of x, x / (1 + x^2 / (3 + x^2 / (5 + x^2 / 7))), whose angle is doubled
    twice: tanh 2a = 2 tanh a / (1 + tanh^2 a). Off by 3.1e-7 of itself at most; unlike libm's, it becomes vectors."""
    # Beyond 9 it is 1 in float32; NaN stays.
    near = f32(-9.0) if x < f32(-9.0) else (f32(9.0) if x > f32(9.0) else f32(x))
    a = f32(0.25) * near
    s = a * a
    t = a * (f32(105.0) + f32(10.0) * s) / (f32(105.0) + s * (f32(45.0) + s))
    t = f32(2.0) * t / (f32(1.0) + t * t)
    return f32(2.0) * t / (f32(1.0) + t * t)


@intrinsic
def sgemm(
    _typing: Any, ta: Any, tb: Any, m: Any, n: Any, k: Any, alpha: Any, a: Any, lda: Any, b: Any, ldb: Any, beta: Any,
    c: Any, ldc: Any,
) -> Any:  # fmt: skip
    """c[m, n] = alpha op(a)[m, k] op(b)[k, n] + beta c, all row-major, leading dimensions in elements.

    BLAS is column-major, so it is handed the transposed product: b first, then a.
    """
    for array in (a, b, c):
        if not isinstance(array, types.Array) or array.dtype != types.float32:
            raise TypeError("sgemm takes float32 arrays")
    int32, float32 = ir.IntType(32), ir.FloatType()

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def cast(index: int, to: Any) -> Any:
            return context.cast(builder, args[index], signature.args[index], to)

        def slot(value: Any) -> Any:
            place = cgutils.alloca_once(builder, value.type)
            builder.store(value, place)
            return builder.bitcast(place, cgutils.voidptr_t)

        def data(index: int) -> Any:
            array = context.make_array(signature.args[index])(context, builder, args[index])
            return builder.bitcast(array.data, cgutils.voidptr_t)

        ta, tb = (slot(cast(i, types.int8)) for i in (0, 1))
        m, n, k, lda, ldb, ldc = (slot(cast(i, types.int32)) for i in (2, 3, 4, 7, 9, 12))
        alpha, beta = (slot(cast(i, types.float32)) for i in (5, 10))
        assert int32 is not float32
        fn_type = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t] * 13)
        fn = cgutils.get_or_insert_function(builder.module, fn_type, SYMBOL)
        builder.call(fn, [tb, ta, n, m, k, alpha, data(8), ldb, data(6), lda, beta, data(11), ldc])
        return context.get_dummy_value()

    return types.void(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc), codegen


@intrinsic
def _set_mxcsr(_typing: Any, value: Any) -> Any:
    """Load the x86 float control register of the calling thread."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = cgutils.alloca_once_value(builder, args[0])
        pointer = builder.bitcast(place, cgutils.voidptr_t)
        fn_type = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t])
        fn = cgutils.get_or_insert_function(builder.module, fn_type, "llvm.x86.sse.ldmxcsr")
        builder.call(fn, [pointer])
        return context.get_dummy_value()

    return types.void(types.uint32), codegen


@intrinsic
def _get_mxcsr(_typing: Any) -> Any:
    """The x86 float control register of the calling thread."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = cgutils.alloca_once(builder, ir.IntType(32))
        fn_type = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t])
        fn = cgutils.get_or_insert_function(builder.module, fn_type, "llvm.x86.sse.stmxcsr")
        builder.call(fn, [builder.bitcast(place, cgutils.voidptr_t)])
        return builder.load(place)

    return types.uint32(), codegen


@njit("uint32(uint32)")
def _swap_mxcsr(value: int) -> int:
    before: int = _get_mxcsr()  # the typing context is Numba's to give
    _set_mxcsr(value)
    return before


# All exceptions masked (0x1f80), flush to zero (0x8000), denormals are zero (0x0040).
FLUSH = 0x1F80 | 0x8000 | 0x0040


def set_float_mode(mode: int) -> int:
    """Set how the calling thread rounds and treats denormal numbers (x86's MXCSR); returns the mode before."""
    return int(_swap_mxcsr(mode))
