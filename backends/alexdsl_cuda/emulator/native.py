"""Compiles LLVM IR to machine code in memory. Only here llvmlite and Numba are imported, when first needed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

Run = Callable[[int, int, int], int]
"""``run(context address, first block, last block + 1)`` gives 0 or the number of an error."""


@cache
def _llvm() -> Any:
    """llvmlite's binding, set up for this processor."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def is_x86() -> bool:
    """Whether code is made for x86."""
    return str(_llvm().get_process_triple()).startswith(("x86", "i686"))


def jitted(*functions: Callable[..., Any]) -> dict[str, Any]:
    """Plain functions compiled by Numba; each may call those before it in the list. By name."""
    from numba import njit

    names: dict[str, Any] = {}
    for function in functions:
        code = FunctionType(function.__code__, {**function.__globals__, **names}, function.__name__)
        names[function.__name__] = njit(nogil=True)(code)
    return names


class Native:
    """Machine code of a module that defines ``run``; the code lives as long as this object."""

    def __init__(self, text: str) -> None:
        llvm = _llvm()
        module = llvm.parse_assembly(text)
        # The engine takes the machine and the module over; the passes need a machine of their own beside it.
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        options.slp_vectorization = True
        passes = llvm.create_pass_builder(_machine(llvm), options)
        passes.getModulePassManager().run(module, passes)
        self._engine = llvm.create_mcjit_compiler(module, _machine(llvm))
        self._engine.finalize_object()
        kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        self.run: Run = kind(self._engine.get_function_address("run"))


def _machine(llvm: Any) -> Any:
    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=2, jit=True)
