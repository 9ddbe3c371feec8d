"""``alexdsl layers``: the reference of layer kinds and what goes with them, from their declarations."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from alexdsl.cli import InputError

if TYPE_CHECKING:
    from alexdsl.ir.parameters import Parameter
    from alexdsl.ir.protocol import Initialiser, LayerKind, Registry, Schedule, SolverKind

Kind: TypeAlias = "LayerKind | SolverKind | Initialiser | Schedule"

USUAL = {"value": "0.01", "maps": "96", "units": "4096", "std": "0.01", "high": "0.1", "every": "30", "k": "5"}
"""Numbers for examples where a parameter has no default."""


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """examples:
  alexdsl layers                 all kinds, a line each
  alexdsl layers conv            one kind: its parameters, weights, gradient, an example
"""
    command.add_argument(
        "kind", metavar="KIND", nargs="?", help="a layer, loss, metric, initialiser, schedule or solver"
    )


def run(args: argparse.Namespace) -> int:
    """Print; see ``arguments``."""
    from alexdsl.registry import registry

    groups = grouped(registry())
    if args.kind is None:
        _list(groups)
        return 0
    found = [(group, kind) for group, kinds in groups.items() if (kind := _called(kinds, args.kind)) is not None]
    if not found:
        from alexdsl.language import suggest

        known = [name for kinds in groups.values() for kind in kinds.values() for name in (kind.name, *_aliases(kind))]
        near = suggest(args.kind, known)
        hint = f"did you mean '{near}'?" if near else "alexdsl layers lists them all"
        raise InputError(f"there is no kind '{args.kind}': {hint}")
    print("\n\n".join("\n".join(_page(group, kind)) for group, kind in found))
    return 0


def grouped(kinds: Registry) -> Mapping[str, Mapping[str, Kind]]:
    """All kinds that a spec can name, by what they are for."""
    layers = kinds.layers
    return {
        "layers": {name: kind for name, kind in layers.items() if not kind.loss and not kind.metric},
        "losses": {name: kind for name, kind in layers.items() if kind.loss},
        "metrics": {name: kind for name, kind in layers.items() if kind.metric},
        "initialisers": kinds.initialisers,
        "schedules": kinds.schedules,
        "solvers": kinds.solvers,
    }


def _called(kinds: Mapping[str, Kind], asked: str) -> Kind | None:
    """The kind of this name, its own or another one."""
    return next((kind for name, kind in kinds.items() if asked == name or asked in _aliases(kind)), None)


def _aliases(kind: Kind) -> Mapping[str, Mapping[str, Any]]:
    return getattr(kind, "aliases", {})


def _list(groups: Mapping[str, Mapping[str, Kind]]) -> None:
    wide = max(len(", ".join((name, *_aliases(kind)))) for kinds in groups.values() for name, kind in kinds.items())
    width = max(40, _width() - wide - 4)
    for at, (group, kinds) in enumerate(groups.items()):
        print(("\n" if at else "") + group)
        for name, kind in kinds.items():
            names = ", ".join((name, *_aliases(kind)))
            print(f"  {names:<{wide}}  {textwrap.shorten(_summary(kind), width, placeholder=' ...')}")


def _width() -> int:
    return min(120, shutil.get_terminal_size((80, 24)).columns)


def _doc(kind: Kind) -> str:
    """The kind's description without markup."""
    import inspect

    return (inspect.getdoc(type(kind)) or "").replace("``", "")


def _summary(kind: Kind) -> str:
    """The first sentence; for a solver, which begins with its formula, what its file says it is."""
    from alexdsl.ir.protocol import SolverKind

    text = _doc(kind)
    if isinstance(kind, SolverKind):
        text = sys.modules[type(kind).__module__].__doc__ or text
    first = " ".join(text.split("\n\n")[0].split())
    return re.split(r"\. (?=[A-Z])", first)[0].rstrip(".")


def _page(group: str, kind: Kind) -> Iterator[str]:
    from alexdsl.ir.protocol import LayerKind, SolverKind
    from alexdsl.passes.bind.solver import COMMON

    parameters = (*kind.parameters, *COMMON) if isinstance(kind, SolverKind) else tuple(kind.parameters)
    braces = isinstance(kind, SolverKind)
    yield from _wrapped(_signature(kind.name, parameters, braces))
    yield f"{'an' if group[0] in 'aeiou' else 'a'} {group[:-1] if group != 'losses' else 'loss'}"
    yield ""
    if braces:
        yield f"{_summary(kind)}."
    for at, paragraph in enumerate(_doc(kind).split("\n\n")):
        yield from [""] * (at > 0) + textwrap.wrap(paragraph, _width(), break_on_hyphens=False)
    if parameters:
        yield ""
        yield from _parameters(parameters)
    yield ""
    for name, text in _facts(kind, parameters) if isinstance(kind, LayerKind) else _variants(parameters):
        yield from textwrap.wrap(f"{name:<10} {text}", _width(), subsequent_indent=" " * 11, break_on_hyphens=False)
    yield f"{'example':<10} {example(group, kind)}"


def _signature(name: str, parameters: Sequence[Parameter], braces: bool) -> str:
    from alexdsl.ir.parameters import REQUIRED, value_text

    if braces:
        return f"solver {name} {{ {', '.join(p.name for p in parameters)} }}"
    inner = ", ".join(p.name if p.default is REQUIRED else f"{p.name}={value_text(p.default)}" for p in parameters)
    return f"{name}({inner})" if inner else name


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _width(), subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _parameters(parameters: Sequence[Parameter]) -> Iterator[str]:
    """A block for every parameter: name, default and what it does, then what it may be."""
    from alexdsl.ir.parameters import REQUIRED, value_text

    yield "parameters"
    names = max(len(p.name) for p in parameters)
    defaults = ["required" if p.default is REQUIRED else value_text(p.default) for p in parameters]
    wide = max(map(len, defaults))
    indent = " " * (names + wide + 6)
    for parameter, default in zip(parameters, defaults, strict=True):
        text = f"{parameter.doc}; {parameter.type}" if parameter.doc else str(parameter.type)
        yield from textwrap.wrap(
            f"  {parameter.name:<{names}}  {default:<{wide}}  {text}",
            _width(),
            subsequent_indent=indent,
            break_on_hyphens=False,
        )


def _facts(kind: LayerKind, parameters: Sequence[Parameter]) -> Iterator[tuple[str, str]]:
    from alexdsl.ir.parameters import value_text

    flows = {None: "two or more values", 1: "one value"}.get(kind.inputs, f"{kind.inputs} values")
    yield "inputs", flows + (", and the labels" if kind.loss or kind.metric else "")
    for alias, given in kind.aliases.items():
        yield "also", f"{alias} is {kind.name}({', '.join(f'{k}={value_text(v)}' for k, v in given.items())})"
    if kind.weight_roles:
        yield "weights", ", ".join(kind.weight_roles)
    if kind.state_roles:
        yield "state", ", ".join(f"{role} (starts at {start:g})" for role, start in kind.state_roles.items())
    if kind.metric:
        yield "gradient", "none: a metric is only reported"
    else:
        needs = [re.sub(r"^result_(\d+)$", r"result \1", need) for need in kind.needs]
        what = f"its {_joined(needs)}, kept from the forward pass" if needs else "nothing of the forward pass"
        yield "gradient", f"needs {what}"
    if kind.random:
        yield "random", "draws numbers, from the spec's seed, its own name and the step"
    if kind.sees:
        yield "in groups", "sees = own | all: its own tower's channels, or those of all towers"
    yield from _variants(parameters)


def _joined(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _variants(parameters: Sequence[Parameter]) -> Iterator[tuple[str, str]]:
    from alexdsl.ir.parameters import Choice, Optional

    for parameter in parameters:
        inner = parameter.type.inner if isinstance(parameter.type, Optional) else parameter.type
        if isinstance(inner, Choice):
            yield "variants", f"{parameter.name} = {' | '.join(inner.words)}"


def example(group: str, kind: Kind) -> str:
    """A use of the kind as it may stand in a spec; layers work on ``x``, joins on ``a`` and ``b``."""
    from alexdsl.ir.parameters import REQUIRED, call_text, value_text

    required = [p for p in kind.parameters if p.default is REQUIRED]
    first = [_usual(p) for p in required[:1] if p is kind.parameters[0]]
    given = [*first, *(f"{p.name}={_usual(p)}" for p in required[len(first) :])]
    if group == "solvers":
        settings = ", ".join(
            f"{p.name} = {value_text(p.default)}" for p in kind.parameters if p.default is not REQUIRED
        )
        return f"solver {kind.name} {{ {settings}, epochs = 10 }}"
    if group == "losses":
        return f"loss = {call_text(kind.name, ['scores', *given])}"
    if group == "metrics":
        alias = next(iter(_aliases(kind)), None)
        return (
            f"report {call_text(alias, ['scores'])}" if alias else f"report {call_text(kind.name, ['scores', *given])}"
        )
    if group == "layers":
        many = getattr(kind, "inputs", 1)
        return (
            f"y = x | {call_text(kind.name, given)}" if many == 1 else f"y = {call_text(kind.name, ['a', 'b', *given])}"
        )
    word = "weight" if group == "initialisers" else "schedule"
    return f"{word} = {call_text(kind.name, given)}"


def _usual(parameter: Parameter) -> str:
    """A value that a parameter without a default accepts."""
    from alexdsl.ir.parameters import Choice, Mismatch

    if isinstance(parameter.type, Choice):
        return parameter.type.words[0]
    for value in (USUAL.get(parameter.name), 3, 0.5, "val.top1"):
        try:
            if value is not None:
                parameter.type.accept(float(value) if parameter.name in USUAL else value)
                return str(value)
        except Mismatch:
            continue
    return "..."
