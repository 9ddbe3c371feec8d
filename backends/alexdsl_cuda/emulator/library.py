"""The functions of LLVM IR that a kernel's own call, and no others: less to compile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from alexdsl_cuda.emulator.collectives import collectives
from alexdsl_cuda.emulator.numerics import NUMERICS
from alexdsl_cuda.emulator.ops.memory import COPIES
from alexdsl_cuda.emulator.watch_ir import WATCH

_NAME = re.compile(r'@("[^"]+"|[\w.]+)')


@cache
def _functions() -> Mapping[str, str]:
    """Every function and declaration, by the name that calls it."""
    parts = re.split(r"\n(?=define |declare )", "\n".join([NUMERICS, COPIES, collectives(), WATCH]))
    found = {}
    for part in parts:
        name = _NAME.search(part)
        if name is not None:
            found[name.group(1)] = part
    return found


def needed(text: str) -> str:
    """The functions that a text calls, and those that they call."""
    found: dict[str, str] = {}
    todo = [text]
    while todo:
        for name in set(_NAME.findall(todo.pop())) - set(found):
            if name in _functions():
                found[name] = _functions()[name]
                todo.append(found[name])
    return "\n".join(found[name] for name in sorted(found))
