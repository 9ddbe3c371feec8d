"""Row-major sgemm of SciPy's BLAS, called from compiled code; resolved by symbol name, so callers can be cached."""

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import get_cython_function_address, intrinsic

SYMBOL = "alexdsl_sgemm"
llvm.add_symbol(SYMBOL, get_cython_function_address("scipy.linalg.cython_blas", "sgemm"))

N, T = ord("N"), ord("T")


@intrinsic
def sgemm(_typing, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):  # type: ignore[no-untyped-def]
    """c[m, n] = alpha * op(a)[m, k] @ op(b)[k, n] + beta * c, all row-major, leading dimensions in elements.

    BLAS is column-major, so it is handed the transposed product: b first, then a.
    """
    for array in (a, b, c):
        if not isinstance(array, types.Array) or array.dtype != types.float32:
            raise TypeError("sgemm takes float32 arrays")

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        def cast(index, to):  # type: ignore[no-untyped-def]
            return context.cast(builder, args[index], signature.args[index], to)

        def slot(value):  # type: ignore[no-untyped-def]
            place = cgutils.alloca_once(builder, value.type)
            builder.store(value, place)
            return builder.bitcast(place, cgutils.voidptr_t)

        def data(index):  # type: ignore[no-untyped-def]
            array = context.make_array(signature.args[index])(context, builder, args[index])
            return builder.bitcast(array.data, cgutils.voidptr_t)

        ta, tb = (slot(cast(i, types.int8)) for i in (0, 1))
        m, n, k, lda, ldb, ldc = (slot(cast(i, types.int32)) for i in (2, 3, 4, 7, 9, 12))
        alpha, beta = (slot(cast(i, types.float32)) for i in (5, 10))
        fn_type = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t] * 13)
        fn = cgutils.get_or_insert_function(builder.module, fn_type, SYMBOL)
        builder.call(fn, [tb, ta, n, m, k, alpha, data(8), ldb, data(6), lda, beta, data(11), ldc])
        return context.get_dummy_value()

    return types.void(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc), codegen
