"""``alexdsl fmt``: formats specs in place; comments and line breaks stay."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from alexdsl.cli import InputError

if TYPE_CHECKING:
    from alexdsl.language import Source

STDIN = "-"


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """examples:
  alexdsl fmt specs/*.net
  alexdsl fmt --check specs/*.net         change nothing; exit code 1 if a file is not formatted
  alexdsl fmt - < mine.net                from standard input to standard output
"""
    command.add_argument("files", metavar="FILE", nargs="+", help="a spec to format in place, or - for standard input")
    command.add_argument(
        "--check", action="store_true", help="only name the files that are not formatted, with exit code 1"
    )


def run(args: argparse.Namespace) -> int:
    """Format; see ``arguments``. A file with mistakes is left as it is, and the others are still formatted."""
    from alexdsl.language import SpecError

    code, changed = 0, 0
    for name in dict.fromkeys(args.files):
        try:
            differs = _format(name, args.check)
        except SpecError as error:
            print(error, file=sys.stderr)
            code = 2
            continue
        changed += differs
        if differs and args.check:
            print(f"{_shown(name)} is not formatted")
            code = max(code, 1)
        elif differs and name != STDIN:
            print(f"formatted {name}")
    if not changed and not code and args.files != [STDIN]:
        print("nothing to change" if not args.check else "all formatted")
    return code


def _format(name: str, check: bool) -> bool:
    """Format a file, or standard input to standard output; whether that changes it. Raises SpecError, InputError."""
    from alexdsl.language import read_source
    from alexdsl.language.formatter import format_source

    path = Path(name)
    source = _standard_input() if name == STDIN else read_source(path)
    text = format_source(source)
    if name == STDIN and not check:
        sys.stdout.write(text)
    differs = text != source.text
    if differs and not check and name != STDIN:
        _write(path, text)
    return differs


def _standard_input() -> Source:
    from alexdsl.language import Source

    try:
        return Source(_shown(STDIN), sys.stdin.buffer.read().decode("utf-8"))
    except UnicodeDecodeError:
        raise InputError("standard input is not text in UTF-8") from None


def _write(path: Path, text: str) -> None:
    """Replace a file's text in one step; its permissions stay, and a link still leads to it."""
    import shutil

    target = path.resolve()
    scratch = target.with_name(f".{target.name}.new")
    try:
        with scratch.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
        shutil.copymode(target, scratch)
        scratch.replace(target)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from error
    finally:
        scratch.unlink(missing_ok=True)


def _shown(name: str) -> str:
    return "<stdin>" if name == STDIN else name
