"""The driver of real GPUs on a stand-in for NVIDIA's, which records every call and refuses one of a wrong form."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

bindings = pytest.importorskip("cuda.bindings.driver", reason="needs NVIDIA's bindings: pip install alexdsl[cuda]")

from alexdsl_cuda import gpu, probe  # noqa: E402
from alexdsl_cuda.driver import Span  # noqa: E402


class Recorder:
    """Answers as the driver's bindings do, with a new handle for whatever is made."""

    def __init__(self, *, peers: bool = True, memory: int = 1 << 30) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self._made, self._peers, self._memory = 100, peers, memory

    def __getattr__(self, name: str) -> Any:
        real = getattr(bindings, name)
        if not name.startswith("cu"):
            return real
        signature = re.match(rf"{name}\((.*)\)", real.__doc__ or "")
        assert signature is not None, name
        count = len(signature.group(1).split(",")) if signature.group(1) else 0

        def call(*args: Any) -> tuple[Any, ...]:
            assert len(args) == count, f"{name} takes ({signature.group(1)}), not {args}"
            self.calls.append((name, args))
            return (bindings.CUresult.CUDA_SUCCESS, *self._results(name))

        call.__name__ = name
        return call

    def _results(self, name: str) -> tuple[Any, ...]:
        if re.match(r"cu(DeviceGet|.*Retain|MemAlloc|MemHostAlloc|.*Create|Module(LoadData|Get.*))$", name):
            self._made += 1
            return (self._made,)
        return {"cuMemGetInfo": (self._memory, 2 * self._memory), "cuDeviceCanAccessPeer": (self._peers,)}.get(name, ())

    def names(self, start: int = 0) -> list[str]:
        return [name for name, _ in self.calls[start:] if name != "cuCtxSetCurrent"]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    monkeypatch.setattr(gpu, "api", found)
    monkeypatch.setattr(gpu, "assemble", lambda source, capability: b"code")
    monkeypatch.setattr(
        probe, "gpus", lambda: (probe.Gpu("a", 1 << 30, (8, 0), 108), probe.Gpu("b", 1 << 30, (9, 0), 132))
    )
    # Host memory that the stand-in hands out is none.
    monkeypatch.setattr(gpu.ctypes, "memmove", lambda *args: None)
    return found


def test_a_step_makes_nothing_and_waits_for_nothing(recorder: Recorder) -> None:
    gpus = gpu.Gpus()
    arenas = [gpus.allocate(f"cuda:{i}", 4096) for i in range(2)]
    streams = [gpus.stream(f"cuda:{i}") for i in range(2)]
    event = gpus.event("cuda:0")
    args = [Span(arenas[0], "F1", 16), 3, 0.5]
    launches = [gpus.prepare("cuda:0", "k", "source", (2, 1, 1), (32, 1, 1), args) for _ in range(2)]
    assert recorder.names().count("cuModuleLoadData") == 1, "a kernel is loaded once for a device"
    begin = len(recorder.calls)
    for _ in range(2):
        gpus.launch(streams[0], launches[0])
        gpus.signal(streams[0], event)
        gpus.wait(streams[1], event)
        gpus.copy(streams[1], ("cuda:1", arenas[1]), ("cuda:0", arenas[0]), 64)
        gpus.copy(streams[0], ("cuda:0", arenas[0] + 64), ("cuda:0", arenas[0]), 64)
    step = ["cuLaunchKernel", "cuEventRecord", "cuStreamWaitEvent", "cuMemcpyPeerAsync", "cuMemcpyDtoDAsync"]
    assert recorder.names(begin) == 2 * step


def test_every_call_is_made_for_its_own_card(recorder: Recorder) -> None:
    gpus = gpu.Gpus()
    streams = {name: gpus.stream(name) for name in ("cuda:0", "cuda:1")}
    assert recorder.names().count("cuCtxEnablePeerAccess") == 2
    for stream in streams.values():
        gpus.synchronise(stream)
        assert recorder.calls[-2] == ("cuCtxSetCurrent", (stream.gpu.context,))


def test_inputs_go_through_one_pinned_place_each(recorder: Recorder) -> None:
    gpus = gpu.Gpus()
    stream, array = gpus.stream("cuda:0"), np.zeros(64, np.float32)
    begin = len(recorder.calls)
    for _ in range(2):
        gpus.feed(stream, ("cuda:0", 5000), array)
    made = ["cuEventCreate", "cuMemHostAlloc"]
    feeding = ["cuEventSynchronize", "cuMemcpyHtoDAsync", "cuEventRecord"]
    assert recorder.names(begin) == [*made, *feeding, *feeding]


def test_what_does_not_fit_is_said_before(recorder: Recorder) -> None:
    with pytest.raises(MemoryError, match="has 1,073,741,824 of its 2,147,483,648 bytes free, and 3,000,000,000 are"):
        gpu.Gpus().allocate("cuda:0", 3_000_000_000)


def test_all_is_given_back(recorder: Recorder) -> None:
    gpus = gpu.Gpus()
    gpus.allocate("cuda:0", 64)
    stream = gpus.stream("cuda:0")
    gpus.event("cuda:0")
    gpus.prepare("cuda:0", "k", "source", (1, 1, 1), (32, 1, 1), [])
    gpus.feed(stream, ("cuda:0", 5000), np.zeros(4))
    begin = len(recorder.calls)
    gpus.close()
    given = ["cuEventDestroy", "cuEventDestroy", "cuStreamDestroy", "cuModuleUnload", "cuMemFree", "cuMemFreeHost"]
    assert recorder.names(begin) == ["cuCtxSynchronize", *given, "cuDevicePrimaryCtxRelease"]
