"""Names that the products' kernels use and only compiled code has, from ``alexdsl_cuda.intrinsics``."""

from __future__ import annotations

from typing import Any

from alexdsl_cuda.dialect import F1, Function, cuda, float32, int32, uint32

__all__ = [
    "F1", "Function", "clear", "cuda", "fetch", "float32", "int32", "load_quad", "multiply", "put_columns", "put_quad",
    "quad", "quotient", "refetch", "shift", "store_quad", "uint32",
]  # fmt: skip

clear: Any = None
fetch: Any = None
load_quad: Any = None
multiply: Any = None
put_columns: Any = None
put_quad: Any = None
quad: Any = None
quotient: Any = None
refetch: Any = None
shift: Any = None
store_quad: Any = None
