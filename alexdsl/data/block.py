"""Turns a spec's bound ``data`` block into data settings; mistakes become diagnostics at the setting's place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NoReturn

from alexdsl.data.settings import (
    Augmentation,
    ColourJitter,
    DataSettings,
    Env,
    Exact,
    Folder,
    Idx,
    Mirror,
    Npz,
    PcaNoise,
    RandomCrop,
    RandomScale,
    Resize,
    Sample,
    Shards,
    ShorterSide,
    SourceSetting,
    Split,
)
from alexdsl.ir.parameters import whole
from alexdsl.language import Diagnostic, Diagnostics, Span, SpecError, suggest
from alexdsl.passes.bind import BATCH, Block, Given
from alexdsl.passes.bind.values import BROKEN, Text, Tree, show_given

NAMES = tuple(f.name for f in fields(DataSettings))
SOURCES = ("folder", "shards", "idx", "npz", "sample")
USAGES = {
    "folder": 'folder("path"), folder(env("NAME")) or folder(env("NAME"), else = sample("fashion"))',
    "shards": 'shards("path") or shards(env("NAME"), else = sample("fashion"))',
    "env": 'env("NAME")',
    "idx": 'idx("images", "labels")',
    "npz": 'npz("file")',
    "sample": 'sample("fashion")',
    "split": "split(5%)",
    "shorter_side": "shorter_side(256) or shorter_side(256, square = false)",
    "exact": "exact([height, width])",
    "random_crop": "random_crop",
    "mirror": "mirror",
    "random_scale": "random_scale(0.7, 1)",
    "colour_jitter": "colour_jitter(brightness = 0.2, contrast = 0.2, saturation = 0.2) or some of these",
    "pca_noise": "pca_noise(0.1) or pca_noise(0.1, by = eigenvalue)",
    "centre_crop": "centre_crop",
    "ten_crop": "ten_crop",
}
AUGMENTATIONS = ("random_crop", "random_scale", "mirror", "colour_jitter", "pca_noise")
EXAMPLES = 'folder("path"), shards("path"), idx("images", "labels"), npz("file") or sample("fashion")'


class _Wrong(Exception):
    """A setting does not fit; ``message`` says why, at ``span``."""

    def __init__(self, span: Span, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.span, self.message, self.hint = span, message, hint


def data_settings(block: Block, diagnostics: Diagnostics) -> DataSettings | None:
    """The settings, or none where a mistake was reported."""
    given: dict[str, Any] = {}
    failed = False
    for name, setting in block.settings.items():
        try:
            if name not in _READERS:
                _unknown(setting.name_span or setting.span, "data", name, NAMES)
            if setting.value is BROKEN:
                failed = True
                continue
            given[name] = _READERS[name](name, setting)
        except _Wrong as wrong:
            failed = True
            diagnostics.error(wrong.span, wrong.message, hint=wrong.hint)
    if "source" not in block.settings and not any(suggest(n, ["source"]) for n in block.settings if n not in NAMES):
        failed = True
        where = next((setting.name_span for setting in block.settings.values()), None)
        diagnostics.error(where, f"data '{block.name}' has no 'source'", hint=f"source = {EXAMPLES}")
    if failed:
        return None
    settings = DataSettings(**{"batch": BATCH, **given})
    for leaf, sentence in settings.problems():
        failed = True
        at = block.settings.get(leaf)
        diagnostics.error(at.span if at else None, sentence)
    return None if failed else settings


def data_problems(block: Block) -> Iterable[Diagnostic]:
    """Everything that is wrong with a block."""
    diagnostics = Diagnostics()
    data_settings(block, diagnostics)
    return diagnostics.errors


def ask_classes(block: Block) -> int | None:
    """How many classes the data has. Raises SpecError where the data cannot be asked, or its block has mistakes."""
    # Imported here: only a spec that asks needs what reads images.
    from alexdsl.data.errors import DataError
    from alexdsl.data.resolve import class_names

    diagnostics = Diagnostics()
    settings = data_settings(block, diagnostics)
    if settings is None:
        raise SpecError(diagnostics.errors)
    if settings.classes is not None:
        return settings.classes
    try:
        return len(class_names(settings))
    except DataError as error:
        hint = "data.classes is asked of the source; 'classes = 1000' in the data block says it without asking"
        diagnostics.error(block.settings["source"].span, str(error), hint=hint)
        raise SpecError(diagnostics.errors) from error


@dataclass(frozen=True)
class _Call:
    """A call, or a word that stands for one without arguments; ``leaf`` is the setting that it belongs to."""

    leaf: str
    tree: Tree

    def names(self, *allowed: str) -> None:
        """Refuse other named arguments than these."""
        for name, given in self.tree.named.items():
            if name not in allowed:
                _unknown(given.name_span or given.span, self.tree.name, name, allowed)

    def positional(self, *counts: int) -> Sequence[Given]:
        """The arguments without a name, so many of them."""
        if len(self.tree.args) not in counts:
            raise _Wrong(self.tree.span, f"{self.tree.name} is written {USAGES[self.tree.name]}")
        return self.tree.args

    def one(self) -> Given:
        """The only argument without a name."""
        return self.positional(1)[0]

    def text(self, given: Given) -> str:
        """An argument in quotation marks."""
        if isinstance(given.value, Text):
            return given.value.value
        hint = f'in quotation marks: "{given.value}"' if isinstance(given.value, str) else None
        raise _Wrong(given.span, f"{self.tree.name} expects a text in quotation marks, not {show_given(given)}", hint)

    def word(self, name: str, *words: str) -> str:
        """One of a few words, the first unless it is given."""
        given = self.tree.named.get(name)
        if given is None or given.value in words:
            return words[0] if given is None else str(given.value)
        near = suggest(given.value, words) if isinstance(given.value, str) else None
        hint = f"did you mean '{near}'?" if near else None
        message = f"{name} of {self.tree.name} expects {' or '.join(words)}, not {show_given(given)}"
        raise _Wrong(given.span, message, hint)


def _call(leaf: str, given: Given, choices: Sequence[str], usage: str, words: Sequence[str] = ()) -> _Call:
    """A setting's value as a call of one of ``choices``; ``words`` are known too, for suggestions."""
    value = given.value
    tree = value if isinstance(value, Tree) else Tree(value, (), {}, given.span) if isinstance(value, str) else None
    if tree is None:
        raise _Wrong(given.span, f"{leaf} is written {usage}, not {show_given(given)}")
    if tree.name not in choices:
        near = suggest(tree.name, [*choices, *words])
        hint = f"did you mean '{near}'?" if near else f"it is written {usage}"
        raise _Wrong(tree.span, f"{leaf} cannot be '{tree.name}'", hint)
    return _Call(leaf, tree)


def _unknown(span: Span, what: str, name: str, known: Sequence[str]) -> NoReturn:
    near = suggest(name, known)
    hint = f"did you mean '{near}'?" if near else f"{what} takes {', '.join(known) or 'no named arguments'}"
    raise _Wrong(span, f"{what} has no '{name}'", hint)


def _source(leaf: str, given: Given) -> SourceSetting:
    call = _call(leaf, given, SOURCES, EXAMPLES)
    name = call.tree.name
    if name in ("folder", "shards"):
        call.names("else")
        otherwise = call.tree.named.get("else")
        kind = Folder if name == "folder" else Shards
        return kind(_path(name, call.one()), None if otherwise is None else _source("else", otherwise))
    call.names()
    if name == "idx":
        images, labels = call.positional(2)
        return Idx(call.text(images), call.text(labels))
    if name == "npz":
        return Npz(call.text(call.one()))
    return Sample(*(call.text(arg) for arg in call.positional(0, 1)))


def _path(source: str, given: Given) -> str | Env:
    if isinstance(given.value, Text):
        return given.value.value
    if not isinstance(given.value, Tree):
        hint = f'in quotation marks: "{given.value}"' if isinstance(given.value, str) else None
        raise _Wrong(given.span, f'{source} expects a text or env("NAME"), not {show_given(given)}', hint)
    call = _call("a folder's path", given, ("env",), 'env("NAME")')
    call.names()
    return Env(call.text(call.one()))


def _val(leaf: str, given: Given) -> Split | SourceSetting:
    if isinstance(given.value, Tree) and given.value.name in SOURCES:
        return _source(leaf, given)
    call = _call(leaf, given, ("split",), "split(5%), or a source of its own", SOURCES)
    call.names()
    return Split(_number("split", call.one()))


def _resize(leaf: str, given: Given) -> Resize:
    usage = "shorter_side(256), shorter_side(256, square = false), exact([height, width]) or none"
    if given.value == "none":
        return None
    call = _call(leaf, given, ("shorter_side", "exact"), usage, ("none",))
    if call.tree.name == "shorter_side":
        call.names("square")
        return ShorterSide(_count("shorter_side", call.one()), call.word("square", "true", "false") == "true")
    call.names()
    sides = _sides("exact", call.one(), "[height, width]")
    if isinstance(sides, int):
        raise _Wrong(call.one().span, f"exact expects [height, width], not {sides}")
    return Exact(*sides)


def _crop(leaf: str, given: Given) -> int | tuple[int, int] | None:
    expected = "a whole number of at least 1, [height, width] or none"
    return None if given.value == "none" else _sides(leaf, given, expected)


def _sides(leaf: str, given: Given, expected: str) -> int | tuple[int, int]:
    values = given.value if isinstance(given.value, tuple) else (given.value,)
    sides = [n for n in map(whole, values) if n is not None and 1 <= n < 2**31]
    if len(sides) != len(values) or len(sides) not in (1, 2):
        raise _Wrong(given.span, f"{leaf} expects {expected}, not {show_given(given)}")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def _augment(leaf: str, given: Given) -> tuple[Augmentation, ...]:
    usage = "[random_crop, mirror, pca_noise(0.1)] or a part of that"
    if given.value == "none":
        return ()
    found: list[Augmentation] = []
    for item in given.value if isinstance(given.value, tuple) else (given.value,):
        call = _call(leaf, Given(item, given.span), AUGMENTATIONS, usage)
        if call.tree.name == "pca_noise":
            call.names("by")
            stdev = next((_number("pca_noise", arg) for arg in call.positional(0, 1)), 0.1)
            by = call.word("by", "stdev", "eigenvalue")
            found.append(PcaNoise(stdev, "stdev" if by == "stdev" else "eigenvalue"))
        elif call.tree.name == "random_scale":
            call.names()
            found.append(RandomScale(*(_number("random_scale", arg) for arg in call.positional(2))))
        elif call.tree.name == "colour_jitter":
            amounts = ("brightness", "contrast", "saturation")
            call.names(*amounts)
            call.positional(0)
            found.append(ColourJitter(**{n: _number(n, call.tree.named[n]) for n in amounts if n in call.tree.named}))
        else:
            call.names()
            call.positional(0)
            found.append(RandomCrop() if call.tree.name == "random_crop" else Mirror())
    return tuple(found)


def _count(leaf: str, given: Given) -> int:
    number = whole(given.value)
    if number is None or not 1 <= number < 2**31:
        raise _Wrong(given.span, f"{leaf} expects a whole number of at least 1, not {show_given(given)}")
    return number


def _mean(leaf: str, given: Given) -> Any:
    if isinstance(given.value, int | float):
        return float(given.value)
    words = ("image", "channel", "none")
    if given.value in words:
        return given.value
    near = suggest(given.value, words) if isinstance(given.value, str) else None
    hint = f"did you mean '{near}'?" if near else None
    raise _Wrong(given.span, f"mean expects image, channel, none or a number, not {show_given(given)}", hint)


def _test(leaf: str, given: Given) -> str:
    call = _call(leaf, given, ("centre_crop", "ten_crop"), "centre_crop or ten_crop")
    call.names()
    call.positional(0)
    return call.tree.name


def _number(leaf: str, given: Given) -> float:
    if not isinstance(given.value, int | float):
        raise _Wrong(given.span, f"{leaf} expects a number, not {show_given(given)}")
    return float(given.value)


_READERS: dict[str, Callable[[str, Given], Any]] = {
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
    "test": _test,
}
