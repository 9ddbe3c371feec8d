"""Makes docs/pictures/alexnet.svg: what a terminal shows for ``alexdsl check`` on the 2012 AlexNet.

python docs/pictures/make.py
"""

from __future__ import annotations

import io
import os
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI

from alexdsl.cli import main

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WORDS = ["check", "specs/alexnet.net", "--set", "data.classes=1000"]
COLUMNS = 80
FONTS = "SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"


class Terminal(io.StringIO):
    """A stream that says it is a terminal, so that the command prints as on one."""

    def isatty(self) -> bool:
        return True


def recorded() -> Console:
    """A console that recorded the command as it printed itself."""
    screen = Console(record=True, file=Terminal(), width=COLUMNS, highlight=False, force_terminal=True)
    screen.print(f"[bold green]$[/] [bold]alexdsl {' '.join(WORDS)}[/]\n")
    # The command makes a console of its own: it gets this one.
    with redirect_stdout(Terminal()), patch("rich.console.Console", lambda **_: screen):
        code = main(WORDS)
    if code:
        sys.exit(code)
    return screen


def svg_format() -> str:
    """Rich's frame around the text, with fonts that a reader has: pictures in a page load none."""
    plain = re.sub(r" *@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return plain.replace("font-family: Fira Code, monospace", f"font-family: {FONTS}")


if __name__ == "__main__":
    os.chdir(ROOT)
    os.environ.pop("IMAGENET", None)
    path = HERE / "alexnet.svg"
    svg = recorded().export_svg(title="alexdsl", theme=MONOKAI, code_format=svg_format())
    path.write_text("".join(f"{line.rstrip()}\n" for line in svg.splitlines()), encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")
