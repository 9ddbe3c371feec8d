"""Reads a sweep's file: YAML that names a spec, what its variants change, the seeds, and what is measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from alexdsl.language import Diagnostics, Source, Span, read_source, suggest
from alexdsl.spec import with_overrides
from alexdsl.sweep.measures import KINDS, Measure, MeasureError, measure

KEYS = ("title", "claim", "spec", "set", "variants", "seeds", "measures")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Variant:
    """One of the things compared: a spec's file, and the leaves of it that are overridden."""

    name: str
    spec: Path
    overrides: Mapping[str, str]


@dataclass(frozen=True)
class Sweep:
    """What a sweep's file says; ``name`` is the file's own. The first variant is what the others are held against."""

    name: str
    path: Path
    title: str
    claim: str
    variants: Sequence[Variant]
    seeds: Sequence[int]
    measures: Sequence[Measure]


def read_sweep(path: Path) -> Sweep:
    """Read a sweep's file. Raises SpecError with all mistakes, each with its place."""
    return _Reader(read_source(path), path).read()


def seeds_of(text: str) -> list[int] | None:
    """``3`` (0, 1, 2) or ``0,4,7`` (``4,``: this one only) as seeds; none where it is neither."""
    if re.fullmatch(r"[0-9]+", text):
        return list(range(int(text))) if 1 <= int(text) <= MOST_SEEDS else None
    if re.fullmatch(r"[0-9]{1,9}(\s*,\s*[0-9]{1,9})*,?", text):
        found = [int(part) for part in text.rstrip(",").split(",")]
        return found if len(set(found)) == len(found) else None
    return None


class _Reader:
    """Every scalar is taken as the text that it is, since it goes into specs: ``none`` and ``1e-4`` are not YAML's."""

    def __init__(self, source: Source, path: Path) -> None:
        self.source, self.path = source, path
        self.diagnostics = Diagnostics()

    def read(self) -> Sweep:
        try:
            root = yaml.compose(self.source.text, Loader=yaml.BaseLoader)
        except yaml.MarkedYAMLError as error:
            at = error.problem_mark.index if error.problem_mark else 0
            self.diagnostics.error(self.source.span(at, at + 1), f"this is not YAML: {error.problem or error.context}")
            self.diagnostics.raise_if_errors()
        except yaml.YAMLError as error:
            self.diagnostics.error(None, f"{self.source.name} is not YAML: {error}")
            self.diagnostics.raise_if_errors()
        if not isinstance(root, yaml.MappingNode):
            self.diagnostics.error(None, f"{self.source.name} is no sweep", hint="it begins with title: ...")
            self.diagnostics.raise_if_errors()
        found = self._mapping(root, "a sweep", KEYS)
        for key in ("variants", "measures"):
            if key not in found:
                self.diagnostics.error(None, f"{self.source.name} says nothing of its {key}")
        title = self._text(found["title"]) if "title" in found else self.path.stem
        claim = " ".join(self._text(found["claim"]).split()) if "claim" in found else ""
        base = self._text(found["spec"]) if "spec" in found else None
        shared = self._overrides(found["set"]) if "set" in found else {}
        variants = list(self._variants(found["variants"], base, shared)) if "variants" in found else []
        measures = list(self._measures(found["measures"])) if "measures" in found else []
        seeds = self._seeds(found["seeds"]) if "seeds" in found else [0, 1, 2]
        self.diagnostics.raise_if_errors()
        return Sweep(self.path.stem, self.path, title, claim, variants, seeds, measures)

    def _mapping(self, node: yaml.Node, what: str, known: Iterable[str] | None = None) -> dict[str, yaml.Node]:
        """A mapping's values by key, none of which comes twice; nothing written is an empty one."""
        if isinstance(node, yaml.ScalarNode) and not node.value:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.diagnostics.error(self._span(node), f"{what} is made of lines KEY: VALUE")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self._text(key)
            if name in found:
                self.diagnostics.error(self._span(key), f"'{name}' is said twice")
            elif known is not None and name not in known:
                near = suggest(name, known)
                hint = f"did you mean '{near}'?" if near else f"there are {', '.join(known)}"
                self.diagnostics.error(self._span(key), f"{what} has no '{name}'", hint=hint)
            else:
                found[name] = value
        return found

    def _variants(self, node: yaml.Node, base: str | None, shared: Mapping[str, str]) -> Iterator[Variant]:
        found = self._mapping(node, "variants")
        if not found:
            self.diagnostics.error(self._span(node), "there are no variants to compare")
        for name, one in found.items():
            says = self._mapping(one, "a variant", ("spec", "set"))
            spec = self._text(says["spec"]) if "spec" in says else base
            if not NAME.fullmatch(name):
                self.diagnostics.error(
                    self._span(one), f"'{name}' names a folder, so it is made of letters, digits, '.', '_' and '-'"
                )
            if spec is None:
                self.diagnostics.error(
                    self._span(one), f"variant '{name}' has no spec", hint="spec: FILE.net, here or for all variants"
                )
                continue
            own = self._overrides(says["set"]) if "set" in says else {}
            yield Variant(name, self.path.parent / spec, with_overrides(shared, own))

    def _overrides(self, node: yaml.Node) -> dict[str, str]:
        found = {name: self._text(value) for name, value in self._mapping(node, "set").items()}
        for name, value in found.items():
            if not value:
                self.diagnostics.error(self._span(node), f"set gives '{name}' no value")
        return found

    def _measures(self, node: yaml.Node) -> Iterator[Measure]:
        found = self._mapping(node, "measures")
        if not found:
            self.diagnostics.error(self._span(node), "there is nothing to measure")
        for label, one in found.items():
            says = {key: self._text(v) for key, v in self._mapping(one, "a measure", (*KINDS, "over")).items()}
            try:
                yield measure(label, says)
            except MeasureError as error:
                self.diagnostics.error(self._span(one), f"measure '{label}': {error}")

    def _seeds(self, node: yaml.Node) -> list[int]:
        listed = isinstance(node, yaml.SequenceNode)
        text = ",".join(self._text(one) for one in node.value) + "," if listed else self._text(node)
        found = seeds_of(text)
        if found is None:
            self.diagnostics.error(self._span(node), f"seeds are a count of at most {MOST_SEEDS:,}, or a list: [0, 1]")
        return found or []

    def _text(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.ScalarNode):
            return str(node.value).strip()
        hint = 'what is for a spec stands in quotes: "[random_crop, mirror]"'
        self.diagnostics.error(self._span(node), "a single value is due here", hint=hint)
        return ""

    def _span(self, node: yaml.Node) -> Span:
        """Where a value begins: the end of a nested one lies on some later line."""
        start = node.start_mark.index
        end = node.end_mark.index if isinstance(node, yaml.ScalarNode) else start + 1
        return self.source.span(start, max(end, start + 1))
