"""The lowest versions that pyproject.toml allows, as pip takes them: ``python -m tests.lowest EXTRA ...``."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
LEAST = re.compile(r"([\w.-]+(?:\[[\w,]+\])?)>=([\d.]+)")


def lowest(extras: Sequence[str]) -> list[str]:
    """A pin for every requirement with a lower bound; of two bounds the higher."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    bounds: dict[str, list[int]] = {}
    for name, version in (found.groups() for line in lines if (found := LEAST.match(line))):
        bounds[name] = max(bounds.get(name, []), [int(part) for part in version.split(".")])
    return [f"{name}=={'.'.join(map(str, parts))}.*" for name, parts in bounds.items()]


if __name__ == "__main__":
    print(*lowest(sys.argv[1:]))
