"""Vectors, matrices and asynchronous copies for the kernels in ``numba_kernels.py``: Numba has no words for them."""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.cuda import types
from numba.cuda.extending import intrinsic

F32, I32 = ir.FloatType(), ir.IntType(32)
FOUR = types.UniTuple(numba.types.float32, 4)
WORDS = types.UniTuple(numba.types.uint32, 4)


def _place(context: Any, builder: Any, signature: Any, args: Any, k: int = 0) -> Any:
    array = context.make_array(signature.args[k])(context, builder, value=args[k])
    return builder.gep(array.data, [args[k + 1]])


@intrinsic
def load4(typingctx: Any, array: Any, index: Any) -> Any:
    """Four floats in a row, in one access."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.bitcast(_place(context, builder, signature, args), ir.VectorType(F32, 4).as_pointer())
        value = builder.load(place, align=16)
        parts = [builder.extract_element(value, I32(k)) for k in range(4)]
        return context.make_tuple(builder, signature.return_type, parts)

    return FOUR(array, index), codegen


@intrinsic
def load4_or_zero(typingctx: Any, array: Any, index: Any, wanted: Any) -> Any:
    """Four floats in a row in one predicated access, zeros where they are not wanted."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature, args)
        kind = ir.FunctionType(ir.LiteralStructType([F32] * 4), [place.type, I32])
        code = (
            "{.reg .pred p; setp.ne.b32 p, $5, 0; mov.b32 $0, 0f00000000; mov.b32 $1, 0f00000000; "
            "mov.b32 $2, 0f00000000; mov.b32 $3, 0f00000000; @p ld.global.nc.v4.f32 {$0,$1,$2,$3}, [$4];}"
        )
        asm = ir.InlineAsm(kind, code, "=&f,=&f,=&f,=&f,l,r", side_effect=True)
        value = builder.call(asm, [place, builder.zext(args[2], I32)])
        parts = [builder.extract_value(value, k) for k in range(4)]
        return context.make_tuple(builder, signature.return_type, parts)

    return FOUR(array, index, numba.types.boolean), codegen


@intrinsic
def store4(typingctx: Any, array: Any, index: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Four floats in a row, in one access."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = ir.Constant(ir.VectorType(F32, 4), ir.Undefined)
        for k in range(4):
            value = builder.insert_element(value, args[2 + k], I32(k))
        place = _place(context, builder, signature, args)
        builder.store(value, builder.bitcast(place, value.type.as_pointer()), align=16)
        return context.get_dummy_value()

    return numba.types.void(array, index, *[numba.types.float32] * 4), codegen


@intrinsic
def outer(typingctx: Any, sums: Any, a0: Any, a1: Any, b0: Any, b1: Any) -> Any:
    """sums[8 i + j] += a[i] * b[j], fused, for eight values of each."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, value=args[0])
        a = [builder.extract_value(args[1 + k // 4], k % 4) for k in range(8)]
        b = [builder.extract_value(args[3 + k // 4], k % 4) for k in range(8)]
        for i in range(8):
            for j in range(8):
                place = builder.gep(array.data, [I32(8 * i + j)])
                builder.store(builder.fma(a[i], b[j], builder.load(place)), place)
        return context.get_dummy_value()

    return numba.types.void(sums, FOUR, FOUR, FOUR, FOUR), codegen


@intrinsic
def shared_address(typingctx: Any, array: Any, index: Any) -> Any:
    """The address in shared memory, 32 bits, of an element of a shared array."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature, args)
        target = ir.PointerType(place.type.pointee, 3)
        return builder.trunc(builder.ptrtoint(builder.addrspacecast(place, target), ir.IntType(64)), I32)

    return numba.types.uint32(array, index), codegen


def _asm(result: Any, arguments: Any, code: str, constraints: str) -> Any:
    """An intrinsic of one instruction on 32-bit words."""
    fields = {"u": I32, "f": F32}

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        flat = []
        for type, arg in zip(signature.args, args, strict=True):
            many = isinstance(type, numba.types.BaseTuple)
            flat += [builder.extract_value(arg, k) for k in range(len(type))] if many else [arg]
        kind = ir.VoidType() if result is None else ir.LiteralStructType([fields[result[1]]] * result[0])
        asm = ir.InlineAsm(ir.FunctionType(kind, [v.type for v in flat]), code, constraints, side_effect=True)
        value = builder.call(asm, flat)
        if result is None:
            return context.get_dummy_value()
        parts = [builder.extract_value(value, k) for k in range(result[0])]
        return context.make_tuple(builder, signature.return_type, parts)

    back = numba.types.void if result is None else FOUR if result[1] == "f" else WORDS
    return back(*arguments), codegen


@intrinsic
def load_matrices(typingctx: Any, address: Any) -> Any:
    """Four 8 x 8 matrices of halves from shared memory."""
    code = "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$0,$1,$2,$3}, [$4];"
    return _asm((4, "u"), [numba.types.uint32], code, "=r,=r,=r,=r,r")


@intrinsic
def load_matrices_turned(typingctx: Any, address: Any) -> Any:
    """The same, transposed."""
    code = "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {$0,$1,$2,$3}, [$4];"
    return _asm((4, "u"), [numba.types.uint32], code, "=r,=r,=r,=r,r")


@intrinsic
def multiply(typingctx: Any, a: Any, b0: Any, b1: Any, c: Any) -> Any:
    """c + a b, a product of 16 x 16 and 16 x 8 bf16."""
    code = (
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};"
    )
    word = numba.types.uint32
    return _asm((4, "f"), [WORDS, word, word, FOUR], code, "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f")


@intrinsic
def copy16(typingctx: Any, to: Any, array: Any, index: Any) -> Any:
    """Starts to copy 16 bytes from global to shared memory."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature, args, 1)
        kind = ir.FunctionType(ir.VoidType(), [I32, place.type])
        asm = ir.InlineAsm(kind, "cp.async.cg.shared.global [$0], [$1], 16;", "r,l", side_effect=True)
        builder.call(asm, [args[0], place])
        return context.get_dummy_value()

    return numba.types.void(numba.types.uint32, array, index), codegen


@intrinsic
def commit(typingctx: Any) -> Any:
    """Ends a group of copies."""
    return _asm(None, [], "cp.async.commit_group;", "")


@intrinsic
def wait_for_all_but_one(typingctx: Any) -> Any:
    """Waits until at most the last group of copies is under way."""
    return _asm(None, [], "cp.async.wait_group 1;", "")
