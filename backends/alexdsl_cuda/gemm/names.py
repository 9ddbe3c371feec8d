"""Names that the products' kernels use and only compiled code has, from ``alexdsl_cuda.intrinsics``."""

from __future__ import annotations

from typing import Any

from alexdsl_cuda.dialect import F1, Function, cuda, float32, int32, uint32

__all__ = [
    "F1", "Function", "address", "clear", "commit_copies", "copy_quads", "cuda", "fetch", "fetch_on", "float32",
    "give_pairs", "halve", "int32", "int64", "load_quad", "multiply", "multiply_halves", "multiply_windows",
    "put_columns", "put_quad", "quad", "quotient", "refetch", "shift", "stay_rolled", "store_pair", "store_quad",
    "take_pairs", "uint32", "wait_for_copies",
]  # fmt: skip

address: Any = None
clear: Any = None
commit_copies: Any = None
copy_quads: Any = None
fetch: Any = None
fetch_on: Any = None
give_pairs: Any = None
halve: Any = None
int64: Any = None
load_quad: Any = None
multiply: Any = None
multiply_halves: Any = None
multiply_windows: Any = None
put_columns: Any = None
put_quad: Any = None
quad: Any = None
quotient: Any = None
refetch: Any = None
shift: Any = None
stay_rolled: Any = None
store_pair: Any = None
store_quad: Any = None
take_pairs: Any = None
wait_for_copies: Any = None
