"""Turns a spec's bound ``data`` block into data settings; mistakes become diagnostics at the setting's place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from alexdsl.data.settings import (
    DataSettings,
    Env,
    Exact,
    Folder,
    Idx,
    Mirror,
    Npz,
    PcaNoise,
    RandomCrop,
    Sample,
    ShorterSide,
    Split,
)
from alexdsl.ir.parameters import whole
from alexdsl.language import Diagnostics, SpecError, suggest
from alexdsl.language.span import NOWHERE, Span
from alexdsl.passes.bind import Block, Given
from alexdsl.passes.bind.values import Text, Tree, show

NAMES = tuple(f.name for f in fields(DataSettings))


class _Wrong(ValueError):
    """A setting does not fit; the message says what is expected."""


def data_settings(block: Block, diagnostics: Diagnostics) -> DataSettings | None:
    """The settings, or none where a mistake was reported."""
    given: dict[str, Any] = {}
    before = len(diagnostics.errors)
    for name, setting in block.settings.items():
        if name not in NAMES:
            near = suggest(name, NAMES)
            hint = f"did you mean '{near}'?" if near else f"data takes {', '.join(NAMES)}"
            diagnostics.error(setting.span, f"data has no '{name}'", hint=hint)
            continue
        try:
            given[name] = _READERS[name](setting.value)
        except _Wrong as error:
            diagnostics.error(setting.span, f"{name} {error}, not {show(setting.value)}")
    if "source" not in block.settings:
        diagnostics.error(None, "data has no 'source'", hint='for example: source = folder("images")')
    if len(diagnostics.errors) > before:
        return None
    settings = DataSettings(**given)
    for leaf, sentence in settings.problems():
        at: Given | None = block.settings.get(leaf)
        diagnostics.error(at.span if at else None, sentence)
    return settings if len(diagnostics.errors) == before else None


def ask_classes(block: Block) -> int | None:
    """How many classes the data has. Raises SpecError where the data cannot be asked."""
    # Imported here: only a spec that asks needs what reads images.
    from alexdsl.data.errors import DataError
    from alexdsl.data.resolve import class_names

    diagnostics = Diagnostics()
    settings = data_settings(block, diagnostics)
    if settings is None:
        return None  # reported when the block is read for good
    if settings.classes is not None:
        return settings.classes
    try:
        return len(class_names(settings))
    except DataError as error:
        source: Span = block.settings["source"].span
        diagnostics.error(source, str(error), hint="data.classes = ... says how many there are without asking")
        raise SpecError(diagnostics.errors) from error


def _tree(value: Any) -> Tree:
    """A call, or a word that stands for a call without arguments."""
    if isinstance(value, Tree):
        return value
    if isinstance(value, str):
        return Tree(value, (), {}, NOWHERE)
    raise _Wrong("expects a call or a word")


def _one(tree: Tree, expected: str) -> Any:
    if len(tree.args) != 1:
        raise _Wrong(f"expects {expected}")
    return tree.args[0]


def _text(value: Any, expected: str) -> str:
    if not isinstance(value, Text):
        raise _Wrong(f"expects {expected}")
    return value.value


def _no_other(tree: Tree, allowed: Sequence[str] = ()) -> None:
    wrong = [name for name in tree.named if name not in allowed]
    if wrong:
        raise _Wrong(f"'{tree.name}' has no '{wrong[0]}'; it expects {', '.join(allowed) or 'no named arguments'}")


def _source(value: Any) -> Any:
    expected = 'a source: folder("path"), folder(env("NAME"), else = ...), idx("images", "labels"), npz("file") or sample("fashion")'
    if not isinstance(value, Tree):
        raise _Wrong(f"expects {expected}")
    if value.name == "folder":
        _no_other(value, ("else",))
        path = _one(value, expected)
        at = Env(_text(_one(path, expected), expected)) if isinstance(path, Tree) and path.name == "env" else _text(path, expected)
        return Folder(at, _source(value.named["else"]) if "else" in value.named else None)
    _no_other(value)
    texts = [_text(arg, expected) for arg in value.args]
    counts = {"idx": 2, "npz": 1, "sample": 1}
    if counts.get(value.name) != len(texts):
        raise _Wrong(f"expects {expected}")
    return {"idx": Idx, "npz": Npz, "sample": Sample}[value.name](*texts)


def _val(value: Any) -> Any:
    if isinstance(value, Tree) and value.name == "split":
        fraction = _one(value, "a part, such as split(5%)")
        if not isinstance(fraction, int | float):
            raise _Wrong("expects a part, such as split(5%)")
        return Split(float(fraction))
    return _source(value)


def _resize(value: Any) -> Any:
    expected = "shorter_side(256), shorter_side(256, square = false), exact([height, width]) or none"
    if value == "none":
        return None
    if isinstance(value, Tree) and value.name == "shorter_side":
        _no_other(value, ("square",))
        square = value.named.get("square", "true")
        if square not in ("true", "false"):
            raise _Wrong(f"expects {expected}")
        return ShorterSide(_pixels(_one(value, expected), expected), square == "true")
    if isinstance(value, Tree) and value.name == "exact":
        sides = _one(value, expected)
        if not isinstance(sides, tuple) or len(sides) != 2:
            raise _Wrong(f"expects {expected}")
        return Exact(_pixels(sides[0], expected), _pixels(sides[1], expected))
    raise _Wrong(f"expects {expected}")


def _pixels(value: Any, expected: str) -> int:
    number = whole(value)
    if number is None:
        raise _Wrong(f"expects {expected}")
    return number


def _crop(value: Any) -> Any:
    expected = "a whole number, [height, width] or none"
    if value == "none":
        return None
    if isinstance(value, tuple) and len(value) == 2:
        return _pixels(value[0], expected), _pixels(value[1], expected)
    return _pixels(value, expected)


def _augment(value: Any) -> Any:
    expected = "a list of random_crop, mirror and pca_noise(0.1)"
    found: list[Any] = []
    for item in value if isinstance(value, tuple) else (value,):
        tree = _tree(item)
        if tree.name == "pca_noise":
            _no_other(tree, ("by",))
            by = tree.named.get("by", "stdev")
            stdev = tree.args[0] if tree.args else 0.1
            if by not in ("stdev", "eigenvalue") or not isinstance(stdev, int | float):
                raise _Wrong("expects pca_noise(0.1, by = stdev | eigenvalue)")
            found.append(PcaNoise(float(stdev), by))
        elif tree.name in ("random_crop", "mirror") and not tree.args and not tree.named:
            found.append(RandomCrop() if tree.name == "random_crop" else Mirror())
        elif item != "none":
            raise _Wrong(f"expects {expected}")
    return tuple(found)


def _count(value: Any) -> int:
    number = whole(value)
    if number is None or number < 1:
        raise _Wrong("expects a whole number of at least 1")
    return number


def _mean(value: Any) -> Any:
    if value in ("image", "channel", "none"):
        return value
    return _number(value, "expects channel, image, none or a number")


def _number(value: Any, expected: str = "expects a number") -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Wrong(expected)
    return float(value)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "source": _source,
    "val": _val,
    "resize": _resize,
    "crop": _crop,
    "augment": _augment,
    "batch": _count,
    "channels": _count,
    "classes": _count,
    "mean": _mean,
    "scale": _number,
}
