"""Compiles kernels' sources to PTX, on a machine without a GPU too. Only here numba-cuda is imported."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from numba import cuda

from alexdsl.ir.kernels import fingerprint

_ENTRY = re.compile(r"\.visible \.entry (\w+)\(")


@dataclass(frozen=True)
class Compiled:
    """A kernel as PTX; ``entry`` is its mangled name, which differs from process to process."""

    ptx: str
    entry: str


def import_kernel(source: str, folder: Path) -> ModuleType:
    """A kernel's source as a module, from a file in ``folder`` that debuggers and profilers find."""
    # A name of its own for every source: Python takes a file rewritten within a second for the one it compiled before.
    path = folder / f"kernel_{fingerprint(source)}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compile_ptx(source: str, capability: tuple[int, int], *, fastmath: bool = False) -> Compiled:
    """The kernel of a rendered source for a processor such as (8, 0). Needs numba-cuda, and no GPU.

    Without ``fastmath`` denormals, division and NaN stay as IEEE has them; multiply-adds are contracted either way.
    """
    with TemporaryDirectory(prefix="alexdsl-cuda-") as folder:
        module = import_kernel(source, Path(folder))
        compiled: Any = cuda.compile_ptx  # type: ignore[attr-defined]
        ptx, _ = compiled(module.kernel, module.SIGNATURE, cc=capability, fastmath=fastmath)
    found = _ENTRY.search(ptx)
    if found is None:
        raise ValueError("the compiled kernel has no entry")
    return Compiled(ptx, found.group(1))
