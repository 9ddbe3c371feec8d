"""What a kind's arguments may be: each type checks a value of the spec and turns it into an attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from alexdsl.ir.graph import Attr


class Required:
    """The default of a parameter that has none."""

    def __repr__(self) -> str:
        return "required"


REQUIRED: Final = Required()


@dataclass(frozen=True)
class Factor:
    """``2x``: a factor on an inherited number."""

    value: float

    def __str__(self) -> str:
        return f"{self.value:g}x"


@dataclass(frozen=True)
class CallValue:
    """A call used as a value: ``normal(0.01)``, already bound to its declaration."""

    kind: str
    attrs: Mapping[str, Attr]


class Mismatch(ValueError):
    """A value does not fit its parameter; the message says what was expected."""


class ParameterType(Protocol):
    """Checks values for one parameter; ``words`` are names it understands before the spec's own."""

    @property
    def words(self) -> tuple[str, ...]: ...

    def accept(self, value: Any) -> Attr:
        """The attribute for ``value``. Raises Mismatch."""

    def __str__(self) -> str: ...


def whole(value: Any) -> int | None:
    """``value`` as an int where it is a whole number (4096, 2.0), else none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) == float("inf"):
        return None
    return int(value) if value == int(value) else None


@dataclass(frozen=True)
class Whole:
    """A whole number in a range."""

    least: int = 0
    most: int = 2**31 - 1
    words: tuple[str, ...] = ()

    def accept(self, value: Any) -> Attr:
        number = whole(value)
        if number is None:
            raise Mismatch(f"expects {self}")
        if not self.least <= number <= self.most:
            raise Mismatch(f"expects {self}, and {number} is out of range")
        return number

    def __str__(self) -> str:
        return f"a whole number of at least {self.least}"


@dataclass(frozen=True)
class Real:
    """A finite number in a closed range, or half-open where ``below`` is set."""

    least: float = float("-inf")
    most: float = float("inf")
    below: bool = False
    words: tuple[str, ...] = ()

    def accept(self, value: Any) -> Attr:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or value != value
            or abs(value) == float("inf")
        ):
            raise Mismatch(f"expects {self}")
        if not self.least <= value <= self.most or (self.below and value == self.most):
            raise Mismatch(f"expects {self}, and {value:g} is out of range")
        return float(value)

    def __str__(self) -> str:
        if self.least == float("-inf") and self.most == float("inf"):
            return "a number"
        if self.most == float("inf"):
            return f"a number of at least {self.least:g}"
        return f"a number from {self.least:g} {'up to below' if self.below else 'to'} {self.most:g}"


@dataclass(frozen=True)
class Choice:
    """One of a few words; the first is the usual one."""

    words: tuple[str, ...]

    def accept(self, value: Any) -> Attr:
        if value not in self.words:
            raise Mismatch(f"expects {self}")
        return value

    def __str__(self) -> str:
        return " or ".join(self.words)


@dataclass(frozen=True)
class Optional:
    """Another type, or the word ``none``."""

    inner: ParameterType

    @property
    def words(self) -> tuple[str, ...]:
        return (*self.inner.words, "none")

    def accept(self, value: Any) -> Attr:
        return None if value in (None, "none") else self.inner.accept(value)

    def __str__(self) -> str:
        return f"{self.inner}, or none"


@dataclass(frozen=True)
class Pair:
    """``n`` for both directions, or ``[height, width]``."""

    least: int = 1
    words: tuple[str, ...] = ()

    def accept(self, value: Any) -> Attr:
        sizes = value if isinstance(value, tuple) else (value, value)
        numbers = tuple(whole(v) for v in sizes)
        if len(numbers) != 2 or any(n is None or not self.least <= n < 2**31 for n in numbers):
            raise Mismatch(f"expects {self}")
        return numbers

    def __str__(self) -> str:
        return f"a whole number of at least {self.least} or [height, width]"


@dataclass(frozen=True)
class Pad:
    """``n``, ``[height, width]``, ``[top, bottom, left, right]`` or ``same``; always four numbers or the word."""

    words: tuple[str, ...] = ("same",)

    def accept(self, value: Any) -> Attr:
        if value == "same":
            return value
        sizes = value if isinstance(value, tuple) else (value,)
        numbers = tuple(whole(v) for v in sizes)
        if len(numbers) not in (1, 2, 4) or any(n is None or not 0 <= n < 2**31 for n in numbers):
            raise Mismatch(f"expects {self}")
        if len(numbers) == 1:
            return numbers * 4
        if len(numbers) == 2:
            return (numbers[0], numbers[0], numbers[1], numbers[1])
        return numbers

    def __str__(self) -> str:
        return "a whole number, [height, width], [top, bottom, left, right] or same"


@dataclass(frozen=True)
class Init:
    """An initialiser (``normal(0.01)``, ``he`` ...) or a number, which means a constant."""

    words: tuple[str, ...] = ()

    def accept(self, value: Any) -> Attr:
        if isinstance(value, CallValue):
            return {"kind": value.kind, **value.attrs}
        number = Real().accept(value)
        return {"kind": "constant", "value": number}

    def __str__(self) -> str:
        return "a number or an initialiser such as normal(0.01)"


@dataclass(frozen=True)
class Parameter:
    """One argument of a kind: its name, type, default and what it does."""

    name: str
    type: ParameterType
    default: Any = REQUIRED
    doc: str = field(default="", compare=False)


def value_text(value: Attr) -> str:
    """An attribute as a spec would say it."""
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        name, rest = str(value["kind"]), {k: value_text(v) for k, v in value.items() if k != "kind"}
        return rest["value"] if name == "constant" else call_text(name, [f"{k}={v}" for k, v in rest.items()])
    if isinstance(value, tuple):
        return value_text(value[0]) if len(set(value)) == 1 else f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


def call_text(name: str, given: Sequence[str]) -> str:
    """A call as a spec would say it; the name alone where nothing is given."""
    return f"{name}({', '.join(given)})" if given else name
