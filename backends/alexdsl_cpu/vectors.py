"""A vector of LANES float32 numbers for compiled kernels: loads, stores, sums, differences, products, its total.

Numba's own loops become vectors only where the compiler can prove that they may; what keeps sums in registers, or many
pixels at once, is written with these instead. LLVM cuts a vector into as many registers as the processor needs.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.extending import intrinsic, overload, register_model

from alexdsl_cpu.processor import LANES

FLAGS = ("contract", "nsz", "reassoc")
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)
_COUNTS = ir.VectorType(ir.IntType(32), LANES)


class Vector(types.Type):
    """Numba's name for a vector."""

    def __init__(self) -> None:
        super().__init__(f"vector{LANES}")


vector = Vector()


@register_model(Vector)
class _Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _VECTOR)


def _spread(builder: Any, number: Any, form: ir.VectorType) -> Any:
    """A vector of one number."""
    nothing = ir.Constant(form, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(_COUNTS, [0] * LANES))


def _place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """A pointer to the vector that begins at place args[1] of the array args[0]."""
    field = context.data_model_manager[signature.args[0]].get_field_position("data")
    index = context.cast(builder, args[1], signature.args[1], types.intp)
    return builder.bitcast(builder.gep(builder.extract_value(args[0], field), [index]), _VECTOR.as_pointer())


def _rows(context: Any, builder: Any, kinds: Any, array: Any, at: Any, apart: Any) -> list[Any]:
    """Pointers to the vectors that begin ``apart`` from each other, LANES of them, from place ``at`` on."""
    field = context.data_model_manager[kinds[0]].get_field_position("data")
    first, step = (context.cast(builder, n, kind, types.intp) for n, kind in zip((at, apart), kinds[1:], strict=True))
    data, found = builder.extract_value(array, field), []
    for _ in range(LANES):
        found.append(builder.bitcast(builder.gep(data, [first]), _VECTOR.as_pointer()))
        first = builder.add(first, step)
    return found


def _mask(context: Any, builder: Any, count: Any, numba_type: Any) -> Any:
    """True for the first ``count`` lanes."""
    many = _spread(builder, context.cast(builder, count, numba_type, types.int32), _COUNTS)
    return builder.icmp_signed("<", ir.Constant(_COUNTS, list(range(LANES))), many)


def _function(builder: Any, name: str, result: Any, args: Any) -> Any:
    """An LLVM intrinsic by name."""
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(result, args), name)


@intrinsic
def fill(_typing: Any, number: Any) -> Any:
    """A vector of one number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _spread(builder, context.cast(builder, args[0], signature.args[0], types.float32), _VECTOR)

    return vector(number), codegen


@intrinsic
def load(_typing: Any, array: Any, at: Any) -> Any:
    """The numbers of a flat array from place ``at`` on; nobody checks that they are there."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_place(context, builder, signature, args), align=4)

    return vector(array, at), codegen


@intrinsic
def store(_typing: Any, array: Any, at: Any, value: Any) -> Any:
    """Put a vector into a flat array from place ``at`` on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _place(context, builder, signature, args), align=4)
        return context.get_dummy_value()

    return types.void(array, at, value), codegen


@intrinsic
def stream(_typing: Any, array: Any, at: Any, value: Any) -> Any:
    """Put a vector into memory past the caches, where ``at`` is a multiple of LANES and the array begins at one."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        written = builder.store(args[2], _place(context, builder, signature, args), align=4 * LANES)
        written.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.void(array, at, value), codegen


@intrinsic
def load_some(_typing: Any, array: Any, at: Any, count: Any) -> Any:
    """The first ``count`` numbers from place ``at`` on, then zeros; only those numbers are touched."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place, align = _place(context, builder, signature, args), ir.Constant(ir.IntType(32), 4)
        mask = _mask(context, builder, args[2], signature.args[2])
        kinds = [place.type, align.type, _MASK, _VECTOR]
        function = _function(builder, f"llvm.masked.load.v{LANES}f32.p0v{LANES}f32", _VECTOR, kinds)
        return builder.call(function, [place, align, mask, ir.Constant(_VECTOR, [0.0] * LANES)])

    return vector(array, at, count), codegen


@intrinsic
def store_some(_typing: Any, array: Any, at: Any, value: Any, count: Any) -> Any:
    """Put the first ``count`` of a vector's numbers into a flat array from place ``at`` on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place, align = _place(context, builder, signature, args), ir.Constant(ir.IntType(32), 4)
        mask = _mask(context, builder, args[3], signature.args[3])
        kinds = [_VECTOR, place.type, align.type, _MASK]
        function = _function(builder, f"llvm.masked.store.v{LANES}f32.p0v{LANES}f32", ir.VoidType(), kinds)
        builder.call(function, [args[2], place, align, mask])
        return context.get_dummy_value()

    return types.void(array, at, value, count), codegen


@intrinsic
def prefetch(_typing: Any, array: Any, at: Any) -> Any:
    """Have the cache line with place ``at`` of a flat array brought near; it need not be there."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.bitcast(_place(context, builder, signature, args), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        function = _function(builder, "llvm.prefetch.p0i8", ir.VoidType(), [place.type, number, number, number])
        builder.call(function, [place, number(0), number(2), number(1)])  # to read, into the second cache, data
        return context.get_dummy_value()

    return types.void(array, at), codegen


@intrinsic
def transpose(_typing: Any, array: Any, at: Any, apart: Any, target: Any, to: Any, target_apart: Any) -> Any:
    """target[to + j target_apart + i] = array[at + i apart + j], for i and j below LANES."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = [builder.load(row, align=4) for row in _rows(context, builder, signature.args[:3], *args[:3])]
        distance = LANES // 2
        while distance:
            # Of two rows so far apart, one takes the numbers above the diagonal of their blocks, one those below.
            for i in range(LANES):
                if not i & distance:
                    pair = rows[i], rows[i + distance]
                    for above in (0, distance):
                        lanes = [
                            lane + above if not lane & distance else LANES + lane - distance + above
                            for lane in range(LANES)
                        ]
                        rows[i + above] = builder.shuffle_vector(*pair, ir.Constant(_COUNTS, lanes))
            distance //= 2
        places = _rows(context, builder, signature.args[3:], *args[3:])
        for row, place in zip(rows, places, strict=True):
            builder.store(row, place, align=4)
        return context.get_dummy_value()

    return types.void(array, at, apart, target, to, target_apart), codegen


@intrinsic
def total(_typing: Any, value: Any) -> Any:
    """The sum of a vector's numbers, by halves."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = ir.FloatType()
        function = _function(builder, f"llvm.vector.reduce.fadd.v{LANES}f32", number, [number, _VECTOR])
        return builder.call(function, [ir.Constant(number, 0.0), args[0]], fastmath=FLAGS)

    return types.float32(value), codegen


def _arithmetic(symbol: Any, instruction: str) -> None:
    """``symbol`` of two vectors, or of a number and a vector."""

    @intrinsic
    def apply(_typing: Any, x: Any, y: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sides = [
                value
                if isinstance(kind, Vector)
                else _spread(builder, context.cast(builder, value, kind, types.float32), _VECTOR)
                for value, kind in zip(args, signature.args, strict=True)
            ]
            return getattr(builder, instruction)(*sides, flags=FLAGS)

        return vector(x, y), codegen

    @overload(symbol)
    def _overloaded(x, y):
        return (lambda x, y: apply(x, y)) if Vector in (type(x), type(y)) else None


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
