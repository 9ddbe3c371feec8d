"""Generated kernels on disk: a private cache folder of the user's, files that appear whole, modules made of them."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from types import ModuleType

from alexdsl.files import cache_folder


def kernel_folder(facts: Iterable[str]) -> Path:
    """The cache of kernels compiled under ``facts``: all that compiled code depends on beside its source."""
    return cache_folder("kernels", blake2b("\n".join(facts).encode(), digest_size=6).hexdigest())


def write_once(path: Path, content: str | bytes) -> None:
    """Write a file unless it holds just that. A file that is there is whole: it appears under its name in one step."""
    data = content.encode() if isinstance(content, str) else content
    if path.exists() and path.read_bytes() == data:
        return
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_bytes(data)
    scratch.replace(path)


def import_file(name: str, path: Path) -> ModuleType:
    """A Python file as the module ``name``, imported once."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
