"""Which GPUs there are, by NVIDIA's driver itself; nothing else needs to be installed to ask."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

from alexdsl.ir.backend import Unavailable

OLDEST_DRIVER = (13, 0)
"""The oldest CUDA version of a driver that takes what is compiled here: that of the toolkit's major release."""
OLDEST_CARD = (8, 0)
"""The lowest compute capability that kernels are compiled for: Ampere's."""
MULTIPROCESSORS, MAJOR, MINOR = 16, 75, 76
"""Numbers of the driver's device attributes."""


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name, bytes of memory, compute capability and number of multiprocessors."""

    name: str
    memory: int
    capability: tuple[int, int]
    multiprocessors: int


def driver_version() -> tuple[int, int] | None:
    """The CUDA version that the installed driver is for; none without a driver."""
    library = _library()
    version = ctypes.c_int()
    if library is None or library.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value // 1000, version.value % 1000 // 10


@cache
def gpus() -> tuple[Gpu, ...]:
    """The usable GPUs, at least one. Raises Unavailable saying what is lacking and what to do."""
    version, library = driver_version(), _library()
    if version is None or library is None:
        raise Unavailable(
            "no NVIDIA driver is installed here (libcuda.so.1): use --device cpu, "
            "or --device emu to run the GPU's kernels without a GPU"
        )
    if version < OLDEST_DRIVER:
        raise Unavailable(f"the NVIDIA driver is for CUDA {_dotted(version)}, too old: {_dotted(OLDEST_DRIVER)} is due")
    count = ctypes.c_int()
    code = library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count))
    if code or not count.value:
        raise Unavailable(f"the NVIDIA driver sees no GPU (code {code}): nvidia-smi may say why")
    found = tuple(_gpu(library, number) for number in range(count.value))
    # Later numbers must not shift, so an old card among newer ones is refused only where it is the only one or used.
    if all(gpu.capability < OLDEST_CARD for gpu in found):
        old = ", ".join(f"{gpu.name} (compute capability {_dotted(gpu.capability)})" for gpu in found)
        raise Unavailable(f"{old}: too old, kernels need compute capability {_dotted(OLDEST_CARD)}")
    return found


def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None


def _gpu(library: ctypes.CDLL, number: int) -> Gpu:
    device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(100)
    library.cuDeviceGet(ctypes.byref(device), number)
    library.cuDeviceGetName(name, 100, device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)

    def attribute(which: int) -> int:
        value = ctypes.c_int()
        library.cuDeviceGetAttribute(ctypes.byref(value), which, device)
        return value.value

    capability = attribute(MAJOR), attribute(MINOR)
    return Gpu(name.value.decode(errors="replace"), memory.value, capability, attribute(MULTIPROCESSORS))


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
