"""Real GPUs by way of NVIDIA's driver: memory, streams, events, copies and launches; nothing else here knows of it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cuda.bindings import driver as api

from alexdsl.ir.backend import Fault
from alexdsl.ir.protocol import Array
from alexdsl_cuda import probe
from alexdsl_cuda.abi import pack
from alexdsl_cuda.compiler import assemble
from alexdsl_cuda.driver import Address, Argument, Event, Prepared, Stream

_BUFFER, _SIZE, _END = 1, 2, 0
"""What the words of a launch's ``extra`` say: a pointer to packed parameters, a pointer to their size, the end."""


@dataclass(frozen=True)
class _Gpu:
    """A GPU that is in use: its context and what kernels are compiled for."""

    device: Any
    context: Any
    capability: tuple[int, int]


@dataclass(frozen=True)
class _Stream:
    gpu: _Gpu
    handle: Any


@dataclass(frozen=True)
class _Pinned:
    """Pinned host memory; ``free`` is set when the GPU has read what lies there."""

    address: Address
    size: int
    free: Any


@dataclass(frozen=True)
class _Launch:
    """A kernel with its grid and block; ``extra`` points into ``held``, which has to live as long."""

    function: Any
    sizes: tuple[int, ...]
    extra: int
    held: Sequence[Any]


class Gpus:
    """Drives GPUs named ``cuda:0`` and so on, from one host thread; ``upload`` may be called from several."""

    def __init__(self) -> None:
        _call(api.cuInit, 0)
        self._gpus: dict[str, _Gpu] = {}
        self._functions: dict[tuple[str, str], Any] = {}
        self._modules: list[tuple[_Gpu, Any]] = []
        self._memory: list[tuple[_Gpu, Address]] = []
        self._streams: list[_Stream] = []
        self._events: list[tuple[_Gpu, Any]] = []
        self._pinned: dict[Address, _Pinned] = {}
        self._hosted: list[tuple[_Gpu, Address]] = []

    def _gpu(self, name: str) -> _Gpu:
        """The GPU of that name, its context current."""
        if name not in self._gpus:
            number = int(name.removeprefix("cuda:"))
            device = _call(api.cuDeviceGet, number)
            gpu = _Gpu(device, _call(api.cuDevicePrimaryCtxRetain, device), probe.gpus()[number].capability)
            _call(api.cuCtxSetCurrent, gpu.context)
            for other in self._gpus.values():
                for one, two in ((gpu, other), (other, gpu)):
                    if _call(api.cuDeviceCanAccessPeer, one.device, two.device):
                        _call(api.cuCtxSetCurrent, one.context)
                        _allowed(api.cuCtxEnablePeerAccess(two.context, 0))
            self._gpus[name] = gpu
        gpu = self._gpus[name]
        _call(api.cuCtxSetCurrent, gpu.context)
        return gpu

    def allocate(self, device: str, size: int) -> Address:
        gpu = self._gpu(device)
        free, total = _call(api.cuMemGetInfo)
        if size > free:
            raise MemoryError(f"{device} has {free:,} of its {total:,} bytes free, and {size:,} are needed")
        address = int(_call(api.cuMemAlloc, max(size, 1)))
        self._memory.append((gpu, address))
        _call(api.cuMemsetD8, address, 0, max(size, 1))
        # The driver goes on before the memory is set, and streams that do not block would not wait for it.
        _call(api.cuCtxSynchronize)
        return address

    def stream(self, device: str) -> Stream:
        flags = api.CUstream_flags.CU_STREAM_NON_BLOCKING
        made = _Stream(self._gpu(device), _call(api.cuStreamCreate, flags))
        self._streams.append(made)
        return made

    def event(self, device: str) -> Event:
        gpu = self._gpu(device)
        made = _call(api.cuEventCreate, api.CUevent_flags.CU_EVENT_DISABLE_TIMING)
        self._events.append((gpu, made))
        return made

    def prepare(
        self, device: str, kernel: str, source: str, grid: tuple[int, int, int], block: tuple[int, int, int],
        args: Sequence[Argument],
    ) -> Prepared:  # fmt: skip
        gpu = self._gpu(device)
        if (device, kernel) not in self._functions:
            module = _call(api.cuModuleLoadData, assemble(source, gpu.capability))
            self._modules.append((gpu, module))
            self._functions[device, kernel] = _call(api.cuModuleGetFunction, module, b"kernel")
        packed = pack(args)
        params = ctypes.create_string_buffer(packed, len(packed))
        size = ctypes.c_size_t(len(packed))
        words = (_BUFFER, ctypes.addressof(params), _SIZE, ctypes.addressof(size), _END)
        extra = (ctypes.c_void_p * len(words))(*words)
        held = (params, size, extra)
        return _Launch(self._functions[device, kernel], (*grid, *block), ctypes.addressof(extra), held)

    def launch(self, stream: Stream, prepared: Prepared) -> None:
        _call(api.cuCtxSetCurrent, stream.gpu.context)
        _call(api.cuLaunchKernel, prepared.function, *prepared.sizes, 0, stream.handle, 0, prepared.extra)

    def copy(self, stream: Stream, target: tuple[str, Address], source: tuple[str, Address], size: int) -> None:
        _call(api.cuCtxSetCurrent, stream.gpu.context)
        if target[0] == source[0]:
            _call(api.cuMemcpyDtoDAsync, target[1], source[1], size, stream.handle)
            return
        # Straight from card to card where the hardware can; by way of the host, by the driver itself, where not.
        there, here = self._gpus[target[0]].context, self._gpus[source[0]].context
        _call(api.cuMemcpyPeerAsync, target[1], there, source[1], here, size, stream.handle)

    def signal(self, stream: Stream, event: Event) -> None:
        _call(api.cuCtxSetCurrent, stream.gpu.context)
        _call(api.cuEventRecord, event, stream.handle)

    def wait(self, stream: Stream, event: Event) -> None:
        _call(api.cuCtxSetCurrent, stream.gpu.context)
        _call(api.cuStreamWaitEvent, stream.handle, event, 0)

    def synchronise(self, stream: Stream) -> None:
        _call(api.cuCtxSetCurrent, stream.gpu.context)
        _call(api.cuStreamSynchronize, stream.handle)

    def elapsed(self, stream: Stream, act: Callable[[], None]) -> float:
        _call(api.cuCtxSetCurrent, stream.gpu.context)
        begun, ended = (_call(api.cuEventCreate, api.CUevent_flags.CU_EVENT_DEFAULT) for _ in range(2))
        _call(api.cuStreamSynchronize, stream.handle)
        _call(api.cuEventRecord, begun, stream.handle)
        act()
        _call(api.cuEventRecord, ended, stream.handle)
        _call(api.cuEventSynchronize, ended)
        milliseconds: float = _call(api.cuEventElapsedTime, begun, ended)
        for event in (begun, ended):
            _call(api.cuEventDestroy, event)
        return milliseconds / 1e3

    def upload(self, stream: Stream, target: tuple[str, Address], array: Array) -> None:
        _call(api.cuCtxSetCurrent, stream.gpu.context)
        _call(api.cuMemcpyHtoDAsync, target[1], array.ctypes.data, array.nbytes, stream.handle)
        _call(api.cuStreamSynchronize, stream.handle)

    def feed(self, stream: Stream, target: tuple[str, Address], array: Array) -> None:
        _call(api.cuCtxSetCurrent, stream.gpu.context)
        pinned = self._pinned_for(stream, target[1], array.nbytes)
        _call(api.cuEventSynchronize, pinned.free)
        ctypes.memmove(pinned.address, array.ctypes.data, array.nbytes)
        _call(api.cuMemcpyHtoDAsync, target[1], pinned.address, array.nbytes, stream.handle)
        _call(api.cuEventRecord, pinned.free, stream.handle)

    def _pinned_for(self, stream: _Stream, target: Address, size: int) -> _Pinned:
        """Host memory that the GPU reads by itself, kept for every place that is written to again and again."""
        found = self._pinned.get(target)
        if found is None or found.size < size:
            free = _call(api.cuEventCreate, api.CUevent_flags.CU_EVENT_DISABLE_TIMING)
            self._events.append((stream.gpu, free))
            found = _Pinned(int(_call(api.cuMemHostAlloc, size, 0)), size, free)
            self._hosted.append((stream.gpu, found.address))
            self._pinned[target] = found
        return found

    def download(self, stream: Stream, array: Array, source: tuple[str, Address]) -> None:
        _call(api.cuCtxSetCurrent, stream.gpu.context)
        _call(api.cuMemcpyDtoHAsync, array.ctypes.data, source[1], array.nbytes, stream.handle)
        _call(api.cuStreamSynchronize, stream.handle)

    def close(self) -> None:
        for gpu in self._gpus.values():
            _call(api.cuCtxSetCurrent, gpu.context)
            _call(api.cuCtxSynchronize)
        for destroy, held in (
            (api.cuEventDestroy, self._events),
            (api.cuStreamDestroy, [(stream.gpu, stream.handle) for stream in self._streams]),
            (api.cuModuleUnload, self._modules),
            (api.cuMemFree, self._memory),
            (api.cuMemFreeHost, self._hosted),
        ):
            for gpu, handle in held:
                _call(api.cuCtxSetCurrent, gpu.context)
                _call(destroy, handle)
        for gpu in self._gpus.values():
            _call(api.cuDevicePrimaryCtxRelease, gpu.device)
        self.__dict__.clear()


def _call(function: Any, *args: Any) -> Any:
    """A driver call's result. Raises Fault with the driver's own words, MemoryError where memory is lacking."""
    code, *results = function(*args)
    if code != api.CUresult.CUDA_SUCCESS:
        _, text = api.cuGetErrorString(code)
        message = f"{function.__name__}: {text.decode() if text else code}"
        raise (MemoryError if code == api.CUresult.CUDA_ERROR_OUT_OF_MEMORY else Fault)(message)
    return results[0] if len(results) == 1 else tuple(results)


def _allowed(answer: tuple[Any, ...]) -> None:
    """Peer access that is there already is no error."""
    if answer[0] not in (api.CUresult.CUDA_SUCCESS, api.CUresult.CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED):
        raise Fault(f"cuCtxEnablePeerAccess: {answer[0]}")
