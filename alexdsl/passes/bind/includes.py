"""Splices included files into a spec; they must lie in the spec's folder or below it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alexdsl.language import Diagnostics, SpecError, parse, read_source
from alexdsl.language import syntax as s

MOST_FILES = 1000


def splice(file: s.File, path: Path | None, diagnostics: Diagnostics) -> tuple[s.Stmt, ...]:
    """The file's statements with every include replaced by what it names, included files' own includes too."""
    root = path.resolve().parent if path else None
    splicer = _Splicer(root, diagnostics)
    return tuple(splicer.statements(file, (path.resolve(),) if path else ()))


@dataclass
class _Splicer:
    root: Path | None
    diagnostics: Diagnostics
    read: int = 0

    def statements(self, file: s.File, open_files: tuple[Path, ...]) -> Iterator[s.Stmt]:
        for statement in file.statements:
            if isinstance(statement, s.Include):
                yield from self._included(statement, open_files)
            elif len(open_files) > 1 and isinstance(statement, s.Net | s.Data | s.Solver):
                what = type(statement).__name__.lower()
                self.diagnostics.error(
                    statement.span,
                    f"an included file has no '{what}' of its own",
                    hint=f"'{what}' stands in the spec that includes it",
                )
            elif not isinstance(statement, s.Language) or len(open_files) < 2:
                yield statement

    def _included(self, statement: s.Include, open_files: tuple[Path, ...]) -> Iterator[s.Stmt]:
        span, shown = statement.path.span, statement.path.value
        if self.root is None:
            self.diagnostics.error(statement.span, "a spec that is not a file cannot include others")
            return
        try:
            target = (open_files[-1].parent / shown).resolve()
        except (OSError, RuntimeError, ValueError):
            self.diagnostics.error(span, "this cannot be the name of a file")
            return
        if not target.is_relative_to(self.root):
            self.diagnostics.error(
                span,
                f"'{shown}' lies outside of the spec's folder",
                hint="an included file lies in the folder of the spec, or below it",
            )
        elif target in open_files:
            if len(open_files) == 1 or target == open_files[-1]:
                message = f"'{shown}' includes itself"
            else:
                circle = [file.name for file in (*open_files[open_files.index(target) :], target)]
                message = f"these files include each other in a circle: {' -> '.join(circle)}"
            self.diagnostics.error(span, message)
        elif self.read >= MOST_FILES:
            if self.read == MOST_FILES:
                self.diagnostics.error(span, f"a spec includes at most {MOST_FILES:,} files")
            self.read += 1
        else:
            self.read += 1
            try:
                inner = parse(read_source(target, str(target.relative_to(self.root)), span))
            except SpecError as error:
                self.diagnostics.extend(error.diagnostics)
                return
            yield from self.statements(inner, (*open_files, target))
