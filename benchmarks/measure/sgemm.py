"""Question 1: sgemm per tile inside a parallel loop, against threaded BLAS and torch, for AlexNet's shapes."""

# ruff: noqa: B023  (the calls are timed before the loop variables change)

import sys

import numpy as np
import torch
from numba import get_thread_id, njit, prange
from numpy.typing import NDArray

from benchmarks.measure.blas import N, T, sgemm
from benchmarks.measure.setup import FLAGS, blas_threads, normal
from benchmarks.measure.timing import compare, table

F32 = NDArray[np.float32]
IMAGES = 32
CONVS = {  # one tower: filters, inputs x kernel x kernel, output positions
    "conv1": (48, 363, 3025),
    "conv2": (128, 1200, 729),
    "conv3": (192, 2304, 169),
    "conv4": (192, 1728, 169),
    "conv5": (128, 1728, 169),
}
LINEARS = {  # images, inputs, outputs
    "fc6 128": (128, 9216, 4096),
    "fc7 128": (128, 4096, 4096),
    "fc6 32": (32, 9216, 4096),
    "fc7 32": (32, 4096, 4096),
}


@njit("void(f4[:,::1],f4[:,:,::1],f4[:,:,::1],i8)", parallel=True, cache=True, **FLAGS)
def conv_nchw(w: F32, col: F32, out: F32, tile: int) -> None:
    """out[image, m, :] = w[m, k] @ col[k, n], col being a thread's scratch of one tile."""
    m, k = w.shape
    n = out.shape[2]
    tiles = (n + tile - 1) // tile
    for task in prange(out.shape[0] * tiles):
        image, first = task // tiles, task % tiles * tile
        width = min(tile, n - first)
        sgemm(N, N, m, width, k, 1, w, k, col[get_thread_id()], tile, 0, out[image, :, first:], n)


@njit("void(f4[:,::1],f4[:,:,::1],f4[:,:,::1],i8)", parallel=True, cache=True, **FLAGS)
def conv_nhwc(w: F32, col: F32, out: F32, tile: int) -> None:
    """out[image, n, :] = col[n, k] @ w[m, k].T; the same w as in NCHW."""
    m, k = w.shape
    n = out.shape[1]
    tiles = (n + tile - 1) // tile
    for task in prange(out.shape[0] * tiles):
        image, first = task // tiles, task % tiles * tile
        width = min(tile, n - first)
        sgemm(N, T, width, m, k, 1, col[get_thread_id()], k, w, k, 0, out[image, first:], m)


@njit("void(f4[:,::1],f4[:,:,::1],f4[:,:,::1],i8)", parallel=True, cache=True, **FLAGS)
def conv_nhwc_km(w: F32, col: F32, out: F32, tile: int) -> None:
    """out[image, n, :] = col[n, k] @ w[k, m]; w stored transposed."""
    k, m = w.shape
    n = out.shape[1]
    tiles = (n + tile - 1) // tile
    for task in prange(out.shape[0] * tiles):
        image, first = task // tiles, task % tiles * tile
        width = min(tile, n - first)
        sgemm(N, N, width, m, k, 1, col[get_thread_id()], k, w, m, 0, out[image, first:], m)


@njit("void(f4[:,::1],f4[:,:,::1],f4[:,:,::1])", parallel=True, **FLAGS)
def conv_plain(w: F32, col: F32, out: F32) -> None:
    """No BLAS: four rows of out take four rows of col at a time, LLVM vectorises over positions."""
    m, k = w.shape
    for image in prange(out.shape[0]):
        b, c = col[get_thread_id()], out[image]
        width = b.shape[1]
        for i in range(0, m - 3, 4):
            c0, c1, c2, c3 = c[i], c[i + 1], c[i + 2], c[i + 3]
            for j in range(width):
                c0[j] = c1[j] = c2[j] = c3[j] = np.float32(0)
            for p in range(0, k - 3, 4):
                b0, b1, b2, b3 = b[p], b[p + 1], b[p + 2], b[p + 3]
                w00, w01, w02, w03 = w[i, p], w[i, p + 1], w[i, p + 2], w[i, p + 3]
                w10, w11, w12, w13 = w[i + 1, p], w[i + 1, p + 1], w[i + 1, p + 2], w[i + 1, p + 3]
                w20, w21, w22, w23 = w[i + 2, p], w[i + 2, p + 1], w[i + 2, p + 2], w[i + 2, p + 3]
                w30, w31, w32, w33 = w[i + 3, p], w[i + 3, p + 1], w[i + 3, p + 2], w[i + 3, p + 3]
                for j in range(width):
                    x0, x1, x2, x3 = b0[j], b1[j], b2[j], b3[j]
                    c0[j] += w00 * x0 + w01 * x1 + w02 * x2 + w03 * x3
                    c1[j] += w10 * x0 + w11 * x1 + w12 * x2 + w13 * x3
                    c2[j] += w20 * x0 + w21 * x1 + w22 * x2 + w23 * x3
                    c3[j] += w30 * x0 + w31 * x1 + w32 * x2 + w33 * x3


def measure_convs(seconds: float) -> None:
    rows = []
    for name, (m, k, n) in CONVS.items():
        w, wt = normal(m, k), normal(k, m)
        nchw, nhwc = np.empty((IMAGES, m, n), np.float32), np.empty((IMAGES, n, m), np.float32)
        calls = {}
        for tile in dict.fromkeys(min(n, t) for t in (n, 1024, 512, 256, 128, 64, 32)):
            by_k, by_n = normal(2, k, tile), normal(2, tile, k)
            calls["nchw", tile] = lambda b=by_k, t=tile: conv_nchw(w, b, nchw, t)
            calls["nhwc", tile] = lambda b=by_n, t=tile: conv_nhwc(w, b, nhwc, t)
            calls["nhwc_km", tile] = lambda b=by_n, t=tile: conv_nhwc_km(wt, b, nhwc, t)
        with blas_threads(1):
            times = compare(calls, seconds)
        col = normal(k, n)
        torch_w, torch_col, out = torch.from_numpy(w), torch.from_numpy(col), torch.empty(m, n)
        plain_col = normal(2, k, min(n, 192))
        plain_out = np.empty((IMAGES, m, min(n, 192)), np.float32)
        with blas_threads(2):
            whole = compare(
                {
                    "numpy": lambda: np.matmul(w, col, out=nchw[0]),
                    "torch": lambda: torch.mm(torch_w, torch_col, out=out),
                    "plain": lambda: conv_plain(w, plain_col, plain_out),
                },
                seconds,
            )
        flop = 2 * m * k * n
        rate = {key: IMAGES * flop / t / 1e9 for key, t in times.items()}
        for tile in dict.fromkeys(tile for _, tile in times):
            rows.append([name, f"{m}x{k}x{n}", tile, *(rate[order, tile] for order in ("nchw", "nhwc", "nhwc_km"))])
        plain = IMAGES * 2 * m * k * min(n, 192) / whole["plain"] / 1e9
        rows[-1] += [flop / whole["numpy"] / 1e9, flop / whole["torch"] / 1e9, plain]
        for row in rows:
            row += [""] * (9 - len(row))
    table(
        [
            "GFLOP/s",
            "MxKxN",
            "tile",
            "W·col",
            "col·Wᵀ (W[m,k])",
            "col·W (W[k,m])",
            "numpy x2",
            "torch.mm x2",
            "plain Numba",
        ],
        rows,
    )


@njit("void(f4[:,::1],f4[:,::1],f4[:,::1],i8)", parallel=True, cache=True, **FLAGS)
def linear_mk(x: F32, w: F32, out: F32, tile: int) -> None:
    """out = x @ w[out, in].T, tiles of outputs."""
    images, k = x.shape
    for task in prange((w.shape[0] + tile - 1) // tile):
        first = task * tile
        width = min(tile, w.shape[0] - first)
        sgemm(N, T, images, width, k, 1, x, k, w[first:], k, 0, out[:, first:], out.shape[1])


@njit("void(f4[:,::1],f4[:,::1],f4[:,::1],i8)", parallel=True, cache=True, **FLAGS)
def linear_km(x: F32, w: F32, out: F32, tile: int) -> None:
    """out = x @ w[in, out], tiles of outputs; also the input gradient of a layer with w[out, in]."""
    images, k = x.shape
    n = w.shape[1]
    for task in prange((n + tile - 1) // tile):
        first = task * tile
        sgemm(N, N, images, min(tile, n - first), k, 1, x, k, w[:, first:], n, 0, out[:, first:], n)


@njit("void(f4[:,::1],f4[:,::1],f4[:,::1],i8)", parallel=True, cache=True, **FLAGS)
def linear_dx_turned(dy: F32, w: F32, dx_turned: F32, tile: int) -> None:
    """dx.T[in, images] = w[out, in].T @ dy.T: the same product with the roles of BLAS's operands exchanged."""
    images, k = dy.shape
    n = w.shape[1]
    for task in prange((n + tile - 1) // tile):
        first = task * tile
        sgemm(T, T, min(tile, n - first), images, k, 1, w[:, first:], n, dy, k, 0, dx_turned[first:], images)


@njit("void(f4[:,::1],f4[:,::1],f4[:,::1],i8)", parallel=True, cache=True, **FLAGS)
def linear_grad(dy: F32, x: F32, dw: F32, tile: int) -> None:
    """dw[out, in] = dy.T @ x, tiles of outputs."""
    images, m = dy.shape
    n = x.shape[1]
    for task in prange((m + tile - 1) // tile):
        first = task * tile
        sgemm(T, N, min(tile, m - first), n, images, 1, dy[:, first:], m, x, n, 0, dw[first:], n)


def measure_linears(seconds: float) -> None:
    rows = []
    for name, (images, k, m) in LINEARS.items():
        x, w, wt, dy = normal(images, k), normal(m, k), normal(k, m), normal(images, m)
        out, dx, dw = np.empty((images, m), np.float32), np.empty((images, k), np.float32), np.empty((m, k), np.float32)
        dxt = np.empty((k, images), np.float32)
        calls = {}
        for tile in (2048, 1024, 512, 256, 128, 64):
            calls["mk", tile] = lambda t=tile: linear_mk(x, w, out, t)
            calls["km", tile] = lambda t=tile: linear_km(x, wt, out, t)
            calls["dx", tile] = lambda t=tile: linear_km(dy, w, dx, t)
            calls["dxt", tile] = lambda t=tile: linear_dx_turned(dy, w, dxt, t)
            calls["dw", tile] = lambda t=tile: linear_grad(dy, x, dw, t)
        with blas_threads(1):
            times = compare(calls, seconds)
        tx, tw, twt, tdy = map(torch.from_numpy, (x, w, wt, dy))
        tout, tdx, tdw = map(torch.from_numpy, (out, dx, dw))
        with blas_threads(2):
            whole = compare(
                {
                    ("numpy", "mk"): lambda: np.matmul(x, w.T, out=out),
                    ("numpy", "km"): lambda: np.matmul(x, wt, out=out),
                    ("numpy", "dx"): lambda: np.matmul(dy, w, out=dx),
                    ("numpy", "dw"): lambda: np.matmul(dy.T, x, out=dw),
                    ("torch", "mk"): lambda: torch.mm(tx, tw.T, out=tout),
                    ("torch", "km"): lambda: torch.mm(tx, twt, out=tout),
                    ("torch", "dx"): lambda: torch.mm(tdy, tw, out=tdx),
                    ("torch", "dw"): lambda: torch.mm(tdy.T, tx, out=tdw),
                },
                seconds,
            )
        flop = 2e-9 * images * k * m
        kinds = ("mk", "km", "dx", "dxt", "dw")
        for tile in dict.fromkeys(tile for _, tile in times):
            rows.append([name, tile, *(flop / times[kind, tile] for kind in kinds)])
        for library in ("numpy", "torch"):
            rows.append(
                [name, f"{library} x2", *(flop / whole[library, kind] if kind != "dxt" else "" for kind in kinds)]
            )
    table(
        ["GFLOP/s", "tile", "x·Wᵀ (W[out,in])", "x·W (W[in,out])", "dx = dy·W[out,in]", "dxᵀ = Wᵀ·dyᵀ", "dW = dyᵀ·x"],
        rows,
    )


if __name__ == "__main__":
    budget = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    measure_convs(budget)
    measure_linears(budget)
