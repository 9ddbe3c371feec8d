"""What the benchmark commands share: their arguments, tables of figures, and bars that figures reach or miss."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

ROUNDS = 7


@dataclass(frozen=True)
class Bar:
    """What is asked of a figure: to be at least ``bound``, or at most."""

    what: str
    found: float
    bound: float
    most: bool = False

    @property
    def missed(self) -> bool:
        """Also where there is no figure (NaN)."""
        return not (self.found <= self.bound if self.most else self.found >= self.bound)


def arguments(doc: str | None, rounds: int = ROUNDS) -> argparse.ArgumentParser:
    """A command's parser with ``--rounds``."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"of which medians (default: {rounds})")
    return parser


def cores_argument(parser: argparse.ArgumentParser) -> None:
    """``--cores``."""
    parser.add_argument("--cores", type=int, default=2, help="cores of every process (default: 2)")


def peers_argument(parser: argparse.ArgumentParser, known: Mapping[str, str]) -> None:
    """``--peers``, of those known: a peer's name and the module that it needs.

    Parsing ends the command, with 2 and a sentence, where a peer is unknown or its module is not installed."""

    def peers(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(known)}")
            if find_spec(known[name]) is None:
                raise argparse.ArgumentTypeError(f"'{name}' is not installed here: pip install -e '.[bench]'")
        return names

    parser.add_argument("--peers", type=peers, default="torch", help=f"of {', '.join(known)} (default: torch)")


def table(rows: Sequence[Mapping[str, object]], left: Collection[str] = ()) -> Iterator[str]:
    """Rows under their headings; figures to the right with three digits or more, what is lacking empty. To the right
    are also texts, if it is said which are ``left``."""
    texts = [{name: _text(value) for name, value in row.items()} for row in rows]
    widths = {name: max(len(name), *(len(row[name]) for row in texts)) for name in texts[0]}
    numbers = {name for name in widths if any(isinstance(row[name], int | float) for row in rows)}
    right = widths.keys() - left if left else numbers
    for row in ({name: name for name in widths}, *texts):
        cells = (row[name].rjust(width) if name in right else row[name].ljust(width) for name, width in widths.items())
        yield "  ".join(cells).rstrip()


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def conclude(bars: Sequence[Bar]) -> int:
    """Print every bar beside what was found; 1 where one is missed."""
    rows = [
        {
            "bar": bar.what,
            "found": bar.found,
            "": "at most" if bar.most else "at least",
            "asked": bar.bound,
            " ": "MISSED" if bar.missed else "",
        }
        for bar in bars
    ]
    print()
    for line in table(rows) if rows else ("no bar is set for what was measured",):
        print(line)
    return int(any(bar.missed for bar in bars))
