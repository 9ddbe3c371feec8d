"""Question 3: conv1+bias+relu+lrn+maxpool in one pass over row blocks, against separate kernels and torch."""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from numba import get_thread_id, njit, prange

from benchmarks.measure import nchw, nhwc
from benchmarks.measure.blas import N, T, sgemm
from benchmarks.measure.setup import FLAGS, normal, one_blas_thread
from benchmarks.measure.timing import compare, table

IMAGES, MAPS, KERNEL, STRIDE, SIDE, OUT, POOLED = 32, 48, 11, 4, 227, 55, 27
PAR = {"parallel": True, "cache": True, **FLAGS}
A3, A4, U3 = "f4[:,:,::1]", "f4[:,:,:,::1]", "u1[:,:,::1]"


@njit(f"void({A4},f4[:,::1],f4[::1],{A3},{A3},{A3},{A3},{A3},{U3},i8,i8)", **PAR)
def fused_nhwc(x, w, bias, col, squares, z, y, out, winner, rows, last_stage):
    """y (after relu) is kept for the backward pass, lrn's output lives in a thread's scratch only.

    last_stage 1 stops after the convolution, 2 after relu, 3 after lrn, 4 does all.
    """
    maps, k = w.shape
    for image in prange(x.shape[0]):
        me = get_thread_id()
        ready = 0
        for first in range(0, OUT, rows):
            here = min(rows, OUT - first)
            nhwc.im2col(x[image], col[me], first, here, KERNEL, STRIDE, 0, OUT)
            block = y[image, first * OUT : (first + here) * OUT]
            sgemm(N, T, here * OUT, maps, k, 1, col[me], k, w, k, 0, block, maps)
            if last_stage > 1:
                nhwc.bias_relu(block, bias)
            if last_stage > 2:
                nhwc.lrn(block, squares[me], z[me, first * OUT : (first + here) * OUT])
            if last_stage > 3:
                complete = max(0, (first + here - 3) // 2 + 1)
                nhwc.maxpool(z[me], out[image], winner[image], OUT, ready, complete)
                ready = complete


@njit(f"void({A4},f4[:,::1],f4[::1],{A3},{A3},{A3},{A3},{A3},{U3},i8,i8)", **PAR)
def fused_nchw(x, w, bias, col, squares, z, y, out, winner, rows, last_stage):
    maps, k = w.shape
    for image in prange(x.shape[0]):
        me = get_thread_id()
        ready = 0
        for first in range(0, OUT, rows):
            here = min(rows, OUT - first)
            start, end = first * OUT, (first + here) * OUT
            nchw.im2col(x[image], col[me], first, here, KERNEL, STRIDE, 0, OUT)
            sgemm(N, N, maps, end - start, k, 1, w, k, col[me], col.shape[2], 0, y[image, :, start:], OUT * OUT)
            if last_stage > 1:
                nchw.bias_relu(y[image], bias, start, end)
            if last_stage > 2:
                nchw.lrn(y[image], squares[me], z[me], start, end)
            if last_stage > 3:
                complete = max(0, (first + here - 3) // 2 + 1)
                nchw.maxpool(z[me], out[image], winner[image], OUT, ready, complete)
                ready = complete


@njit(f"void({A3},f4[::1])", **PAR)
def relu_nhwc(y, bias):
    for image in prange(y.shape[0]):
        nhwc.bias_relu(y[image], bias)


@njit(f"void({A3},{A3},{A3})", **PAR)
def lrn_nhwc(y, squares, z):
    for image in prange(y.shape[0]):
        nhwc.lrn(y[image], squares[get_thread_id()], z[image])


@njit(f"void({A3},{A3},{U3})", **PAR)
def pool_nhwc(z, out, winner):
    for image in prange(z.shape[0]):
        nhwc.maxpool(z[image], out[image], winner[image], OUT, 0, POOLED)


@njit(f"void({A3},f4[::1])", **PAR)
def relu_nchw(y, bias):
    for image in prange(y.shape[0]):
        nchw.bias_relu(y[image], bias, 0, OUT * OUT)


@njit(f"void({A3},{A3},{A3})", **PAR)
def lrn_nchw(y, squares, z):
    for image in prange(y.shape[0]):
        nchw.lrn(y[image], squares[get_thread_id()], z[image], 0, OUT * OUT)


@njit(f"void({A3},{A3},{U3})", **PAR)
def pool_nchw(z, out, winner):
    for image in prange(z.shape[0]):
        nchw.maxpool(z[image], out[image], winner[image], OUT, 0, POOLED)


@njit(f"void({A3},{A3},{A3},{A3},{A3})", **PAR)
def back_nhwc(y, dz, squares, terms, dy):
    for image in prange(y.shape[0]):
        nhwc.lrn_relu_backward(y[image], dz[image], squares[get_thread_id()], terms[get_thread_id()], dy[image])


@njit(f"void({A3},{A3},{A3},{A3},{A3})", **PAR)
def back_nchw(y, dz, squares, terms, dy):
    for image in prange(y.shape[0]):
        nchw.lrn_relu_backward(y[image], dz[image], squares[get_thread_id()], terms[get_thread_id()], dy[image])


@njit(f"void({A3},{A3},{U3},{A3},{A3},{A3},{A3})", **PAR)
def pool_back_nhwc(y, dout, winner, dz, squares, terms, dy):
    """maxpool, lrn and relu backward in one pass, dz in scratch."""
    for image in prange(y.shape[0]):
        me = get_thread_id()
        nhwc.maxpool_backward(dout[image], winner[image], dz[me], OUT)
        nhwc.lrn_relu_backward(y[image], dz[me], squares[me], terms[me], dy[image])


@njit(f"void({A3},{A3},{U3},{A3},{A3},{A3},{A3})", **PAR)
def pool_back_nchw(y, dout, winner, dz, squares, terms, dy):
    for image in prange(y.shape[0]):
        me = get_thread_id()
        nchw.maxpool_backward(dout[image], winner[image], dz[me], OUT)
        nchw.lrn_relu_backward(y[image], dz[me], squares[me], terms[me], dy[image])


def main(seconds: float) -> None:
    one_blas_thread()
    empty = lambda *shape: np.empty(shape, np.float32)  # noqa: E731
    pixels, small = OUT * OUT, POOLED * POOLED
    x, w, bias = 50 * normal(IMAGES, 3, SIDE, SIDE), normal(MAPS, 3, KERNEL, KERNEL), normal(MAPS)
    xl = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    wf, wl = w.reshape(MAPS, -1), np.ascontiguousarray(w.transpose(0, 2, 3, 1)).reshape(MAPS, -1)
    k = wf.shape[1]
    first = {
        "y": empty(IMAGES, MAPS, pixels),
        "z": empty(IMAGES, MAPS, pixels),
        "out": empty(IMAGES, MAPS, small),
        "winner": np.empty((IMAGES, MAPS, small), np.uint8),
        "squares": np.zeros((2, MAPS + 4, 256), np.float32),
    }
    last = {
        "y": empty(IMAGES, pixels, MAPS),
        "z": empty(IMAGES, pixels, MAPS),
        "out": empty(IMAGES, small, MAPS),
        "winner": np.empty((IMAGES, small, MAPS), np.uint8),
        "squares": np.zeros((2, OUT, MAPS + 4), np.float32),
    }

    def call_nhwc(rows: int, stage: int) -> object:
        col = empty(2, rows * OUT, k)
        a = (last["squares"], last["z"][:2], last["y"], last["out"], last["winner"])
        return lambda: fused_nhwc(xl, wl, bias, col, *a, rows, stage)

    def call_nchw(rows: int, stage: int) -> object:
        col = empty(2, k, rows * OUT)
        a = (first["squares"], first["z"][:2], first["y"], first["out"], first["winner"])
        return lambda: fused_nchw(x, wf, bias, col, *a, rows, stage)

    tx, tw, tb = map(torch.from_numpy, (x, w, bias))
    txl, twl = tx.contiguous(memory_format=torch.channels_last), tw.contiguous(memory_format=torch.channels_last)
    stages = {
        "conv": lambda a: F.conv2d(a[0], a[1], tb, 4),
        "relu": lambda a: F.relu(a),
        "lrn": lambda a: F.local_response_norm(a, 5, 5e-4, 0.75, 2),
        "pool": lambda a: F.max_pool2d(a, 3, 2, return_indices=True),
    }

    def eager(pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        value = pair
        for stage in stages.values():
            value = stage(value)
        return value

    with torch.no_grad():
        want = eager((tx, tw))[0].numpy()
        calls = {("nhwc", rows): call_nhwc(rows, 4) for rows in (1, 2, 3, 5, 11, 19, 55)}
        calls |= {("nchw", rows): call_nchw(rows, 4) for rows in (1, 2, 3, 5, 11, 19, 55)}
        calls["torch"] = lambda: eager((tx, tw))
        calls["torch channels_last"] = lambda: eager((txl, twl))
        times = compare(calls, seconds)
    got = last["out"].transpose(0, 2, 1).reshape(want.shape)
    print("largest difference from torch:", abs(first["out"].reshape(want.shape) - want).max(), abs(got - want).max())
    print("\nall of conv1+bias+relu+lrn+maxpool, 48 maps, 32 images, ms:\n")
    table(
        ["rows per tile", "NHWC", "NCHW"],
        [[r, 1e3 * times["nhwc", r], 1e3 * times["nchw", r]] for r in (1, 2, 3, 5, 11, 19, 55)],
    )
    print(f"torch eager {1e3 * times['torch']:.1f} ms, channels_last {1e3 * times['torch channels_last']:.1f} ms\n")

    calls = {}
    for stage in (1, 2, 3, 4):
        calls["nhwc", stage], calls["nchw", stage] = call_nhwc(5, stage), call_nchw(5, stage)
    calls["nhwc", "relu"] = lambda: relu_nhwc(last["y"], bias)
    calls["nchw", "relu"] = lambda: relu_nchw(first["y"], bias)
    calls["nhwc", "lrn"] = lambda: lrn_nhwc(last["y"], last["squares"], last["z"])
    calls["nchw", "lrn"] = lambda: lrn_nchw(first["y"], first["squares"], first["z"])
    calls["nhwc", "pool"] = lambda: pool_nhwc(last["z"], last["out"], last["winner"])
    calls["nchw", "pool"] = lambda: pool_nchw(first["z"], first["out"], first["winner"])
    with torch.no_grad():
        value = (tx, tw)
        for name, stage in stages.items():
            calls["torch", name] = lambda s=stage, v=value: s(v)
            value = stage(value)
        times = {key: 1e3 * t for key, t in compare(calls, seconds).items()}
    rows = [["conv", times["nhwc", 1], times["nchw", 1], times["nhwc", 1], times["nchw", 1], times["torch", "conv"]]]
    for stage, name in ((2, "relu"), (3, "lrn"), (4, "pool")):
        rows.append(
            [
                f"+ {name}",
                *(times[o, stage] - times[o, stage - 1] for o in ("nhwc", "nchw")),
                *(times[o, name] for o in ("nhwc", "nchw", "torch")),
            ]
        )
    rows.append(["sum", *(sum(row[i] for row in rows) for i in range(1, 6))])
    print("stage by stage, 5 rows per tile, ms (torch: conv with bias, relu alone):\n")
    table(["stage", "fused NHWC", "fused NCHW", "separate NHWC", "separate NCHW", "torch NCHW"], rows)

    ty = torch.from_numpy(first["y"]).reshape(IMAGES, MAPS, OUT, OUT)
    leaf = (ty - 0.1).requires_grad_()
    tz = stages["lrn"](F.relu(leaf))
    tout = F.max_pool2d(tz, 3, 2)
    dz, dout = normal(*tz.shape), normal(*tout.shape)
    tdz, tdout = torch.from_numpy(dz), torch.from_numpy(dout)
    y = F.relu(leaf).detach().numpy().reshape(IMAGES, MAPS, pixels)
    yl = np.ascontiguousarray(y.transpose(0, 2, 1))
    flat = dz.reshape(y.shape)
    dzl, doutl = (
        np.ascontiguousarray(flat.transpose(0, 2, 1)),
        np.ascontiguousarray(dout.reshape(IMAGES, MAPS, small).transpose(0, 2, 1)),
    )
    dy, dyl = np.empty_like(y), np.empty_like(yl)
    tf, tl = np.zeros_like(first["squares"]), np.zeros_like(last["squares"])
    call_nhwc(5, 4)(), call_nchw(5, 4)()
    times = compare(
        {
            "lrn+relu NHWC": lambda: back_nhwc(yl, dzl, last["squares"], tl, dyl),
            "lrn+relu NCHW": lambda: back_nchw(y, flat, first["squares"], tf, dy),
            "lrn+relu torch": lambda: torch.autograd.grad(tz, leaf, tdz, retain_graph=True),
            "pool+lrn+relu NHWC": lambda: pool_back_nhwc(
                yl, doutl, last["winner"], last["z"][:2], last["squares"], tl, dyl
            ),
            "pool+lrn+relu NCHW": lambda: pool_back_nchw(
                y, dout.reshape(IMAGES, MAPS, small), first["winner"], first["z"][:2], first["squares"], tf, dy
            ),
            "pool+lrn+relu torch": lambda: torch.autograd.grad(tout, leaf, tdout, retain_graph=True),
        },
        seconds,
    )
    back_nhwc(yl, dzl, last["squares"], tl, dyl)
    back_nchw(y, flat, first["squares"], tf, dy)
    want = torch.autograd.grad(tz, leaf, tdz, retain_graph=True)[0].numpy().reshape(dy.shape)
    print(
        "largest difference from torch's gradient:",
        abs(dy - want).max(),
        abs(dyl.transpose(0, 2, 1) - want).max(),
        "\n",
    )
    table(
        ["backward, ms", "NHWC", "NCHW", "torch"],
        [
            [name, *(1e3 * times[f"{name} {o}"] for o in ("NHWC", "NCHW", "torch"))]
            for name in ("lrn+relu", "pool+lrn+relu")
        ],
    )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
