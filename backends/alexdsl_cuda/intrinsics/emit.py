"""How an intrinsic is made: a function in Python that says what it means, beside the code that its calls become."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba.cuda.extending import intrinsic

if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") == "0":
    from numba.cuda import types
else:
    types = None

FLOAT, INT, LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
QUAD = ir.VectorType(FLOAT, 4)


@dataclass(frozen=True)
class Emit:
    """The code of one call: its arguments by name, and what is built of them."""

    context: Any
    builder: Any
    signature: Any
    args: dict[str, tuple[Any, Any]]

    def constant(self, name: str) -> int:
        return int(self.args[name][0].literal_value)

    def integer(self, name: str) -> Any:
        """An integer argument as 32 bits."""
        return self._cast(name, types.uint32)

    def long(self, name: str) -> Any:
        return self._cast(name, types.int64)

    def flag(self, name: str) -> Any:
        return self._cast(name, types.boolean)

    def number(self, name: str) -> Any:
        return self._cast(name, types.float32)

    def _cast(self, name: str, to: Any) -> Any:
        type, value = self.args[name]
        return self.context.cast(self.builder, value, type, to)

    def floats(self, name: str) -> Any:
        """A pointer to an array's first float."""
        type, value = self.args[name]
        data = self.context.make_array(type)(self.context, self.builder, value=value).data
        return self.builder.bitcast(data, FLOAT.as_pointer())

    def place(self, array: str, *indices: str) -> Any:
        """A pointer into an array; indices count floats, without sign. Each is added to the address by itself, so that
        what does not change in a loop stays out of it."""
        found = self.floats(array)
        for index in indices:
            found = self.builder.gep(found, [self.builder.zext(self.integer(index), LONG)])
        return found

    def shared(self, array: str, *counts: Any) -> Any:
        """The address in shared memory, in bytes, of that float of an array; the summands are counts of floats."""
        pointer = self.builder.addrspacecast(self.floats(array), FLOAT.as_pointer(3))
        address = self.builder.ptrtoint(pointer, INT)
        for count in counts:
            address = self.builder.add(address, self.builder.shl(count, INT(2)))
        return address

    def piece(self, array: str, index: str, size: int) -> Any:
        """A pointer to the piece of that index in registers."""
        return self.builder.gep(self.floats(array), [self.builder.mul(self.integer(index), INT(size))])

    def beyond(self, pointer: Any, count: int) -> Any:
        return self.builder.gep(pointer, [INT(count)])

    def read(self, pointer: Any, count: int) -> list[Any]:
        return [self.builder.load(self.beyond(pointer, i)) for i in range(count)]

    def write(self, pointer: Any, values: list[Any]) -> None:
        for i, value in enumerate(values):
            self.builder.store(value, self.beyond(pointer, i))

    def read_quad(self, pointer: Any) -> list[Any]:
        found = self.builder.load(self.builder.bitcast(pointer, QUAD.as_pointer()), align=16)
        return [self.builder.extract_element(found, INT(i)) for i in range(4)]

    def write_quad(self, pointer: Any, values: list[Any]) -> None:
        packed = ir.Constant(QUAD, ir.Undefined)
        for i, value in enumerate(values):
            packed = self.builder.insert_element(packed, value, INT(i))
        self.builder.store(packed, self.builder.bitcast(pointer, QUAD.as_pointer()), align=16)


def emitted(emit: Callable[[Emit], Any], result: str = "void") -> Callable[[Callable[..., Any]], Any]:
    """Of a function in Python an intrinsic whose calls become the code that ``emit`` builds; the function itself in
    the simulator. ``result`` names the type of what is returned."""

    def made(meaning: Callable[..., Any]) -> Any:
        if types is None:
            return meaning
        parameters = inspect.signature(meaning).parameters

        def typing(context: Any, *given: Any) -> Any:
            arguments = dict(zip(parameters, given, strict=True))
            if any(name.isupper() and not hasattr(type, "literal_value") for name, type in arguments.items()):
                return None  # Numba asks once more, with the constants' values in their types.

            def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                args = dict(zip(parameters, zip(signature.args, values, strict=True), strict=True))
                value = emit(Emit(context, builder, signature, args))
                return context.get_dummy_value() if result == "void" else value

            return getattr(types, result)(*given), codegen

        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        typing.__signature__ = inspect.Signature([context, *parameters.values()])  # type: ignore[attr-defined]
        typing.__name__, typing.__doc__ = meaning.__name__, meaning.__doc__
        return intrinsic(typing)

    return made


def floats(array: Any) -> Any:
    """In the simulator: a shared array of quads as floats; other arrays are floats already."""
    return array.view(np.float32)
