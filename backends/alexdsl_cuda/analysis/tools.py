"""Finds and runs NVIDIA's assembler and disassembler, which need no GPU."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGES = {"ptxas": "nvidia-cuda-nvcc", "nvdisasm": "nvidia-cuda-nvdisasm"}


class MissingTool(Exception):
    """A tool that is neither among the installed packages nor on the PATH."""


@dataclass(frozen=True)
class Assembled:
    """What ``ptxas`` says of a kernel, and its machine code as text; sizes in bytes."""

    registers: int
    stack: int
    spills: int
    shared: int
    sass: str


def tool(name: str) -> Path:
    """A tool of the CUDA toolkit: from NVIDIA's packages beside this one, or from the PATH. Raises MissingTool."""
    site = Path(sysconfig.get_paths()["purelib"])
    for found in sorted(site.glob(f"nvidia/*/bin/{name}"), reverse=True):
        return found
    on_path = shutil.which(name)
    if on_path is None:
        raise MissingTool(f"{name} is neither installed (pip install {PACKAGES[name]}) nor on the PATH")
    return Path(on_path)


def assemble(ptx: str, capability: tuple[int, int]) -> Assembled:
    """PTX through ``ptxas`` and ``nvdisasm``, for a processor such as (8, 0). Raises MissingTool and ValueError."""
    ptxas, nvdisasm = tool("ptxas"), tool("nvdisasm")
    with TemporaryDirectory(prefix="alexdsl-sass-") as folder:
        text, binary = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        text.write_text(ptx, encoding="utf-8")
        arch = f"sm_{capability[0]}{capability[1]}"
        said = _run([str(ptxas), "-v", f"-arch={arch}", str(text), "-o", str(binary)])
        sass = _run([str(nvdisasm), "-c", str(binary)])
    return Assembled(
        registers=_number(r"Used (\d+) registers", said),
        stack=_number(r"(\d+) bytes stack frame", said),
        spills=_number(r"(\d+) bytes spill stores", said) + _number(r"(\d+) bytes spill loads", said),
        shared=_number(r"(\d+) bytes smem", said),
        sass=sass,
    )


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{Path(command[0]).name} refuses the kernel: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout + done.stderr


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found.group(1)) if found else 0
