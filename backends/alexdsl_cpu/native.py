"""What loops over launches are made of beside kernels: numbers that threads share, and calls of kernels by address."""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

FLOATS = 8
"""The float32 arguments of a call, in words of their own before the others."""
COUNTS = (96, 512, 1024)
"""How many further words a call may hand over, as many as its kernel's or more: few for most kernels, since all are
copied, and many for updates of several parameters."""

_PAUSE = "llvm.x86.sse2.pause" if platform.machine() == "x86_64" else ""
_I8, _I32, _I64, _FLOAT = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()


def _place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """A pointer to place args[1] of the flat array of words args[0]."""
    field = context.data_model_manager[signature.args[0]].get_field_position("data")
    index = context.cast(builder, args[1], signature.args[1], types.intp)
    return builder.gep(builder.extract_value(args[0], field), [index])


@intrinsic
def get(_typing: Any, array: Any, at: Any) -> Any:
    """A shared number, and all that was written before it was put there."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature, args), "seq_cst", 8)

    return types.int64(array, at), codegen


@intrinsic
def put(_typing: Any, array: Any, at: Any, number: Any) -> Any:
    """Write a shared number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = context.cast(builder, args[2], signature.args[2], types.int64)
        builder.store_atomic(number, _place(context, builder, signature, args), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(array, at, number), codegen


@intrinsic
def take(_typing: Any, array: Any, at: Any) -> Any:
    """A shared number, which grows by one: no two threads get the same."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature, args)
        return builder.atomic_rmw("add", place, ir.Constant(_I64, 1), "seq_cst")

    return types.int64(array, at), codegen


@intrinsic
def pause(_typing: Any) -> Any:
    """A moment's rest of a thread that waits for others."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _PAUSE:
            form = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.globals.get(_PAUSE) or ir.Function(builder.module, form, _PAUSE), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def yield_core(_typing: Any) -> Any:
    """Let other threads have the core, if one waits for it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        form = ir.FunctionType(_I32, [])
        name = "sched_yield"
        builder.call(builder.module.globals.get(name) or ir.Function(builder.module, form, name), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def call(_typing: Any, address: Any, first: Any, last: Any, slot: Any, words: Any, at: Any, count: Any) -> Any:
    """Call the compiled kernel at an address for units ``first`` to ``last``; its status, 0 where all is well.

    Numba's functions take a place for their result, one for an exception, then their arguments, arrays as their parts.
    By the conventions of x86-64 and AArch64 on Linux whole numbers and pointers are counted by themselves, and so are
    floats, and a function may be handed more than it reads: FLOATS words of floats stand at place ``at``, behind them
    ``count`` others.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = ir.PointerType(_I8)
        start = _place(context, builder, signature.replace(args=signature.args[4:6]), args[4:6])
        result, error, status = (builder.alloca(kind) for kind in (pointer, pointer, _I32))
        heads = [context.cast(builder, args[i], signature.args[i], types.int64) for i in (1, 2, 3)]
        count = context.cast(builder, args[6], signature.args[6], types.int64)
        floats = [
            builder.load(builder.bitcast(builder.gep(start, [ir.Constant(_I64, i)]), _FLOAT.as_pointer()))
            for i in range(FLOATS)
        ]
        end = builder.append_basic_block("called")
        builder.store(ir.Constant(_I32, -1), status)
        choice = builder.switch(count, end)
        form = [pointer.as_pointer(), pointer.as_pointer(), *[_I64] * 3, *[_FLOAT] * FLOATS]
        for size in COUNTS:
            block = builder.append_basic_block(f"call_{size}")
            choice.add_case(ir.Constant(_I64, size), block)
            with builder.goto_block(block):
                numbers = [builder.load(builder.gep(start, [ir.Constant(_I64, FLOATS + i)])) for i in range(size)]
                kernel = ir.FunctionType(_I32, [*form, *[_I64] * size]).as_pointer()
                target = builder.inttoptr(args[0], kernel)
                builder.store(builder.call(target, [result, error, *heads, *floats, *numbers]), status)
                builder.branch(end)
        builder.position_at_end(end)
        return builder.sext(builder.load(status), _I64)

    return types.int64(address, first, last, slot, words, at, count), codegen
