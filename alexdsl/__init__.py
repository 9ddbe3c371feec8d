"""alexdsl: a small language for neural networks, compiled to Numba kernels.

spec = alexdsl.load("specs/alexnet.net")
program = alexdsl.compile(spec, batch=32)
metrics = program.step(images, labels)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexdsl.language import SpecError
    from alexdsl.program import Program, compile
    from alexdsl.spec import Spec, load

__version__ = "0.1.0"
__all__ = ["Program", "Spec", "SpecError", "compile", "load"]

_HOMES = {"load": "spec", "Spec": "spec", "compile": "program", "Program": "program", "SpecError": "language"}


def __getattr__(name: str) -> Any:
    """The public names, imported when first used: ``alexdsl --help`` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'alexdsl' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"alexdsl.{_HOMES[name]}"), name)
