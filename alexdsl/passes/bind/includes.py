"""Splices included files into a spec; they must lie in the spec's folder or below it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alexdsl.language import syntax as s
from alexdsl.language.diagnostics import Diagnostics, SpecError
from alexdsl.language.parser import MAX_BYTES, parse
from alexdsl.language.span import Source

Reader = Callable[[Path], str]


def read(path: Path) -> str:
    """A spec's text. Raises OSError or UnicodeDecodeError; a file over the limit is cut, which the parser then reports."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1).decode("utf-8")


def splice(file: s.File, path: Path | None, diagnostics: Diagnostics) -> tuple[s.Stmt, ...]:
    """The file's statements with every include replaced by what it names, included files' own includes too."""
    root = path.resolve().parent if path else None
    return _splice(file, path, root, (path.resolve(),) if path else (), diagnostics)


def _splice(
    file: s.File, path: Path | None, root: Path | None, open_files: tuple[Path, ...], diagnostics: Diagnostics
) -> tuple[s.Stmt, ...]:
    statements: list[s.Stmt] = []
    for statement in file.statements:
        if not isinstance(statement, s.Include):
            if len(open_files) > 1 and isinstance(statement, s.Net | s.Data | s.Solver | s.Language):
                if not isinstance(statement, s.Language):
                    what = {s.Net: "net", s.Data: "data", s.Solver: "solver"}[type(statement)]
                    diagnostics.error(statement.span, f"an included file has no '{what}' of its own")
                continue
            statements.append(statement)
            continue
        if path is None or root is None:
            diagnostics.error(statement.span, "a spec that is not a file cannot include others")
            continue
        target = (path.parent / statement.path.value).resolve()
        if not target.is_relative_to(root):
            diagnostics.error(
                statement.path.span, "an included file must lie in the spec's folder or below it", f"this is {target}"
            )
        elif target in open_files:
            diagnostics.error(statement.path.span, f"'{statement.path.value}' includes itself")
        else:
            statements += _included(statement, target, root, open_files, diagnostics)
    return tuple(statements)


def _included(
    statement: s.Include, target: Path, root: Path, open_files: tuple[Path, ...], diagnostics: Diagnostics
) -> tuple[s.Stmt, ...]:
    try:
        text = read(target)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        diagnostics.error(statement.path.span, f"cannot read '{statement.path.value}': {reason}")
        return ()
    try:
        inner = parse(Source(str(target.relative_to(root)), text))
    except SpecError as error:
        diagnostics.extend(error.diagnostics)
        return ()
    return _splice(inner, target, root, (*open_files, target), diagnostics)
