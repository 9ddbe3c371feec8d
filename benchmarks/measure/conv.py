"""Question 2: AlexNet's convolutions by im2col and by Winograd, forward and backward, NCHW and NHWC, against torch."""

import sys
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numba import get_thread_id, njit, prange

from benchmarks.measure import nchw, nhwc, winograd
from benchmarks.measure.blas import N, T, sgemm
from benchmarks.measure.setup import FLAGS, normal, one_blas_thread
from benchmarks.measure.timing import compare, table

IMAGES, CHUNKS = 32, 8
A3, A4 = "f4[:,:,::1]", "f4[:,:,:,::1]"
PAR = {"parallel": True, "cache": True, **FLAGS}


@dataclass(frozen=True)
class Conv:
    name: str
    c: int
    side: int
    filters: int
    kernel: int
    stride: int
    pad: int

    @property
    def out(self) -> int:
        return (self.side + 2 * self.pad - self.kernel) // self.stride + 1

    @property
    def k(self) -> int:
        return self.c * self.kernel**2

    @property
    def gflop(self) -> float:
        return 2e-9 * IMAGES * self.filters * self.k * self.out**2


CONV1, CONV1_BOTH = Conv("conv1", 3, 227, 48, 11, 4, 0), Conv("conv1 both towers", 3, 227, 96, 11, 4, 0)
CONV2, CONV3 = Conv("conv2", 48, 27, 128, 5, 1, 2), Conv("conv3", 256, 13, 192, 3, 1, 1)


@njit(f"void({A4},f4[:,::1],{A3},{A3},i8,i8,i8,i8)", **PAR)
def forward_nchw(x, w, col, y, rows, kernel, stride, pad):
    filters, k = w.shape
    width = (x.shape[3] + 2 * pad - kernel) // stride + 1
    pixels = width * width
    tiles = (width + rows - 1) // rows
    for task in prange(x.shape[0] * tiles):
        image, first = task // tiles, task % tiles * rows
        here = min(rows, width - first)
        mine = col[get_thread_id()]
        nchw.im2col(x[image], mine, first, here, kernel, stride, pad, width)
        sgemm(N, N, filters, here * width, k, 1, w, k, mine, mine.shape[1], 0, y[image, :, first * width :], pixels)


@njit(f"void({A4},f4[:,::1],{A3},{A3},i8,i8,i8,i8)", **PAR)
def forward_nhwc(x, w, col, y, rows, kernel, stride, pad):
    filters, k = w.shape
    width = (x.shape[2] + 2 * pad - kernel) // stride + 1
    tiles = (width + rows - 1) // rows
    for task in prange(x.shape[0] * tiles):
        image, first = task // tiles, task % tiles * rows
        here = min(rows, width - first)
        mine = col[get_thread_id()]
        nhwc.im2col(x[image], mine, first, here, kernel, stride, pad, width)
        sgemm(N, T, here * width, filters, k, 1, mine, k, w, k, 0, y[image, first * width :], filters)


@njit(f"void({A4},f4[:,::1],{A3},{A3},i8,i8,i8,i8)", **PAR)
def forward_nhwc_images(x, w, col, y, group, kernel, stride, pad):
    """Whole images, several to a tile; images are neighbours in y as in col."""
    filters, k = w.shape
    width = (x.shape[2] + 2 * pad - kernel) // stride + 1
    pixels = width * width
    for task in prange(x.shape[0] // group):
        mine = col[get_thread_id()]
        for g in range(group):
            nhwc.im2col(x[task * group + g], mine[g * pixels :], 0, width, kernel, stride, pad, width)
        sgemm(N, T, group * pixels, filters, k, 1, mine, k, w, k, 0, y[task * group], filters)


@njit(f"void({A4},{A3},i8,i8,i8)", **PAR)
def only_im2col_nhwc(x, col, kernel, stride, pad):
    width = (x.shape[2] + 2 * pad - kernel) // stride + 1
    for image in prange(x.shape[0]):
        nhwc.im2col(x[image], col[get_thread_id()], 0, width, kernel, stride, pad, width)


@njit(f"void({A4},{A3},i8,i8,i8)", **PAR)
def only_im2col_nchw(x, col, kernel, stride, pad):
    width = (x.shape[2] + 2 * pad - kernel) // stride + 1
    for image in prange(x.shape[0]):
        nchw.im2col(x[image], col[get_thread_id()], 0, width, kernel, stride, pad, width)


@njit(f"void({A3},f4[:,::1],{A3},{A4},i8,i8,i8)", **PAR)
def data_nhwc(dy, w, col, dx, kernel, stride, pad):
    filters, k = w.shape
    width = (dx.shape[2] + 2 * pad - kernel) // stride + 1
    for image in prange(dy.shape[0]):
        mine = col[get_thread_id()]
        sgemm(N, N, width * width, k, filters, 1, dy[image], filters, w, k, 0, mine, k)
        nhwc.col2im(mine, dx[image], kernel, stride, pad, width)


@njit(f"void({A3},f4[:,::1],{A3},{A4},i8,i8,i8)", **PAR)
def data_nchw(dy, w, col, dx, kernel, stride, pad):
    filters, k = w.shape
    width = (dx.shape[2] + 2 * pad - kernel) // stride + 1
    pixels = width * width
    for image in prange(dy.shape[0]):
        mine = col[get_thread_id()]
        sgemm(T, N, k, pixels, filters, 1, w, k, dy[image], pixels, 0, mine, pixels)
        nchw.col2im(mine, dx[image], kernel, stride, pad, width)


@njit(f"void({A4},{A3},{A3},{A3},f4[:,::1],i8,i8,i8,i8)", **PAR)
def weight_nhwc(x, dy, col, partial, dw, group, kernel, stride, pad):
    """A fixed number of chunks, each adding up its images in order; then the chunks in order."""
    chunks, filters, k = partial.shape
    width = (x.shape[2] + 2 * pad - kernel) // stride + 1
    pixels = width * width
    each = x.shape[0] // chunks
    for chunk in prange(chunks):
        mine = col[get_thread_id()]
        for first in range(chunk * each, (chunk + 1) * each, group):
            for g in range(group):
                nhwc.im2col(x[first + g], mine[g * pixels :], 0, width, kernel, stride, pad, width)
            beta = np.float32(first > chunk * each)
            sgemm(T, N, filters, k, group * pixels, 1, dy[first], filters, mine, k, beta, partial[chunk], k)
    for row in prange(filters):
        target = dw[row]
        nhwc.copy(partial[0, row], target)
        for chunk in range(1, chunks):
            nhwc.add(partial[chunk, row], target)


@njit(f"void({A4},{A3},{A3},{A3},f4[:,::1],i8,i8,i8,i8)", **PAR)
def weight_nhwc_rows(x, dy, col, partial, dw, rows, kernel, stride, pad):
    """Less than an image to a tile: for conv1, whose col does not fit the second-level cache."""
    chunks, filters, k = partial.shape
    width = (x.shape[2] + 2 * pad - kernel) // stride + 1
    each = x.shape[0] // chunks
    for chunk in prange(chunks):
        mine = col[get_thread_id()]
        beta = np.float32(0)
        for image in range(chunk * each, (chunk + 1) * each):
            for first in range(0, width, rows):
                here = min(rows, width - first)
                nhwc.im2col(x[image], mine, first, here, kernel, stride, pad, width)
                sgemm(
                    T,
                    N,
                    filters,
                    k,
                    here * width,
                    1,
                    dy[image, first * width :],
                    filters,
                    mine,
                    k,
                    beta,
                    partial[chunk],
                    k,
                )
                beta = np.float32(1)
    for row in prange(filters):
        target = dw[row]
        nhwc.copy(partial[0, row], target)
        for chunk in range(1, chunks):
            nhwc.add(partial[chunk, row], target)


@njit(f"void({A4},{A3},{A3},{A3},f4[:,::1],i8,i8,i8)", **PAR)
def weight_nchw(x, dy, col, partial, dw, kernel, stride, pad):
    chunks, filters, k = partial.shape
    width = (x.shape[3] + 2 * pad - kernel) // stride + 1
    pixels = width * width
    each = x.shape[0] // chunks
    for chunk in prange(chunks):
        mine = col[get_thread_id()]
        for image in range(chunk * each, (chunk + 1) * each):
            nchw.im2col(x[image], mine, 0, width, kernel, stride, pad, width)
            beta = np.float32(image > chunk * each)
            sgemm(N, T, filters, k, pixels, 1, dy[image], pixels, mine, pixels, beta, partial[chunk], k)
    for row in prange(filters):
        target = dw[row]
        nhwc.copy(partial[0, row], target)
        for chunk in range(1, chunks):
            nhwc.add(partial[chunk, row], target)


def empty(*shape: int) -> np.ndarray:
    return np.empty(shape, np.float32)


def last(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(a, 1, -1))


class Case:
    """Data of one convolution in both layouts, and torch's answers."""

    def __init__(self, conv: Conv) -> None:
        self.conv = conv
        self.x, self.w = (
            normal(IMAGES, conv.c, conv.side, conv.side),
            normal(conv.filters, conv.c, conv.kernel, conv.kernel),
        )
        self.dy = normal(IMAGES, conv.filters, conv.out, conv.out)
        self.xl, self.dyl = last(self.x), last(self.dy).reshape(IMAGES, -1, conv.filters)
        self.wf, self.wl = self.w.reshape(conv.filters, -1), last(self.w).reshape(conv.filters, -1)
        self.y, self.yl = empty(IMAGES, conv.filters, conv.out**2), empty(IMAGES, conv.out**2, conv.filters)
        self.args = (conv.kernel, conv.stride, conv.pad)
        self.tx, self.tw, self.tdy = map(torch.from_numpy, (self.x, self.w, self.dy))
        form = {"memory_format": torch.channels_last}
        self.txl, self.twl, self.tdyl = (
            self.tx.contiguous(**form),
            self.tw.contiguous(**form),
            self.tdy.contiguous(**form),
        )

    def torch_backward(self, which: int, channels_last: bool) -> object:
        x, w, dy = (self.txl, self.twl, self.tdyl) if channels_last else (self.tx, self.tw, self.tdy)
        c, mask = self.conv, [which == 0, which == 1, False]
        call = torch.ops.aten.convolution_backward
        return lambda: call(dy, x, w, None, [c.stride] * 2, [c.pad] * 2, [1, 1], False, [0, 0], 1, mask)

    def check(self, name: str, got: np.ndarray, want: torch.Tensor) -> None:
        want = want.numpy().reshape(got.shape) if got.shape[0] == want.shape[0] else want.numpy()
        print(f"{self.conv.name} {name}: relative error {abs(got - want).max() / abs(want).max():.1e}")


def measure_forward(
    conv: Conv, row_tiles: tuple[int, ...], groups: tuple[int, ...], flat_m: int, seconds: float
) -> None:
    case = Case(conv)
    calls = {}
    for rows in row_tiles:
        by_k, by_n = empty(2, conv.k, rows * conv.out), empty(2, rows * conv.out, conv.k)
        calls["NCHW im2col", f"{rows} rows"] = lambda b=by_k, r=rows: forward_nchw(
            case.x, case.wf, b, case.y, r, *case.args
        )
        calls["NHWC im2col", f"{rows} rows"] = lambda b=by_n, r=rows: forward_nhwc(
            case.xl, case.wl, b, case.yl, r, *case.args
        )
    full_k, full_n = empty(2, conv.k, conv.out**2), empty(2, conv.out**2, conv.k)
    calls["NCHW im2col", "im2col alone"] = lambda: only_im2col_nchw(case.x, full_k, *case.args)
    calls["NHWC im2col", "im2col alone"] = lambda: only_im2col_nhwc(case.xl, full_n, *case.args)
    for group in groups:
        col = empty(2, group * conv.out**2, conv.k)
        calls["NHWC im2col", f"{group} images"] = lambda b=col, g=group: forward_nhwc_images(
            case.xl, case.wl, b, case.yl, g, *case.args
        )
    want = F.conv2d(case.tx, case.tw, None, conv.stride, conv.pad)
    if flat_m:
        n, wide = flat_m + conv.kernel - 1, -(-conv.out // flat_m)
        run, prepare = winograd.forward(flat_m, conv.kernel), winograd.transform_weights(flat_m, conv.kernel)
        u, small = empty(n * n, conv.c, conv.filters), empty(2, n * conv.kernel * conv.filters)
        wt = np.ascontiguousarray(case.wl.T)
        prepare(wt, u, small)
        calls["Winograd weights", "once a step"] = lambda: prepare(wt, u, small)
        for group in (1, *groups):
            tiles = group * wide * wide
            padded = empty(2, (wide * flat_m + conv.kernel - 1) ** 2 * conv.c)
            scratch = (
                padded,
                empty(2, (n * n + n) * max(conv.c, conv.filters)),
                empty(2, n * n * tiles * conv.c),
                empty(2, n * n * tiles * conv.filters),
            )
            calls[f"NHWC Winograd F({flat_m},{conv.kernel})", f"{group} images"] = lambda s=scratch, g=group: run(
                case.xl, u, case.yl, conv.pad, g, *s
            )
    with torch.no_grad():
        calls["torch", "NCHW"] = lambda: F.conv2d(case.tx, case.tw, None, conv.stride, conv.pad)
        calls["torch", "channels_last"] = lambda: F.conv2d(case.txl, case.twl, None, conv.stride, conv.pad)
        times = compare(calls, seconds)
    if flat_m:
        case.check("Winograd", case.yl.transpose(0, 2, 1), want)
    forward_nhwc(case.xl, case.wl, full_n, case.yl, conv.out, *case.args)
    case.check("NCHW", case.y, want)
    case.check("NHWC", case.yl.transpose(0, 2, 1), want)
    print()
    table(
        [f"{conv.name} forward, {IMAGES} images", "tile", "ms", "GFLOP/s (direct)"],
        [[*key, 1e3 * t, conv.gflop / t] for key, t in times.items()],
    )


def add_winograd_backward(calls: dict, case: Case, m: int, dx: np.ndarray, dw: np.ndarray) -> None:
    """Data: forward with flipped weights; weight: the transpose of forward."""
    c = case.conv
    n, wide = m + c.kernel - 1, -(-c.out // m)
    tiles, maps = wide * wide, max(c.c, c.filters)
    run, prepare = winograd.forward(m, c.kernel), winograd.transform_weights(m, c.kernel)
    flipped = np.ascontiguousarray(case.w[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)).reshape(-1, c.c)
    u = empty(n * n, c.filters, c.c)
    padded, temporary = empty(2, (wide * m + c.kernel - 1) ** 2 * maps), empty(2, (n * n + n * m + n) * maps)
    prepare(flipped, u, temporary)
    v, p, dy4 = (
        empty(2, 2 * n * n * tiles * c.filters),
        empty(2, 2 * n * n * tiles * c.c),
        case.dyl.reshape(IMAGES, c.out, c.out, -1),
    )
    calls["data", f"NHWC Winograd F({m},{c.kernel})"] = lambda: run(
        dy4, u, dx, c.kernel - 1 - c.pad, 2, padded, temporary, v, p
    )
    gradient, du = winograd.weight_gradient(m, c.kernel), empty(n * n, c.c, c.filters)
    all_v, all_p = empty(IMAGES * n * n * tiles * c.c), empty(IMAGES * n * n * tiles * c.filters)
    calls["weight", f"NHWC Winograd F({m},{c.kernel})"] = lambda: gradient(
        case.xl, case.dyl, dw, c.pad, padded, temporary, all_v, all_p, du
    )


def measure_backward(conv: Conv, groups: tuple[int, ...], flat_m: int, seconds: float) -> None:
    case = Case(conv)
    by_k, by_n = empty(2, conv.k, conv.out**2), empty(2, conv.out**2, conv.k)
    dx, dxl = np.empty_like(case.x), np.empty_like(case.xl)
    partial, dw, dwl = empty(CHUNKS, conv.filters, conv.k), np.empty_like(case.wf), np.empty_like(case.wl)
    calls = {}
    if conv.stride == 1:
        calls["data", "NCHW col2im"] = lambda: data_nchw(
            case.dy.reshape(IMAGES, conv.filters, -1), case.wf, by_k, dx, *case.args
        )
        calls["data", "NHWC col2im"] = lambda: data_nhwc(case.dyl, case.wl, by_n, dxl, *case.args)
        flipped = last(case.w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)).reshape(conv.c, -1)
        turned, dy4 = (
            empty(2, conv.side**2, flipped.shape[1]),
            case.dyl.reshape(IMAGES, conv.out, conv.out, conv.filters),
        )
        dx3, pad = np.empty_like(dxl).reshape(IMAGES, -1, conv.c), conv.kernel - 1 - conv.pad
        calls["data", "NHWC as forward, flipped"] = lambda: forward_nhwc(
            dy4, flipped, turned, dx3, conv.side, conv.kernel, 1, pad
        )
        calls["data", "torch NCHW"] = case.torch_backward(0, False)
        calls["data", "torch channels_last"] = case.torch_backward(0, True)
    calls["weight", "NCHW"] = lambda: weight_nchw(
        case.x, case.dy.reshape(IMAGES, conv.filters, -1), by_k, partial, dw, *case.args
    )
    for group in groups:
        col = empty(2, group * conv.out**2, conv.k)
        calls["weight", f"NHWC {group} images"] = lambda b=col, g=group: weight_nhwc(
            case.xl, case.dyl, b, partial, dwl, g, *case.args
        )
    for rows in (5, 11, 19) if conv.stride > 1 else ():
        calls["weight", f"NHWC {rows} rows"] = lambda r=rows: weight_nhwc_rows(
            case.xl, case.dyl, by_n, partial, dwl, r, *case.args
        )
    calls["weight", "torch NCHW"] = case.torch_backward(1, False)
    calls["weight", "torch channels_last"] = case.torch_backward(1, True)
    if flat_m:
        dxw, dww = np.empty_like(case.xl), empty(conv.k, conv.filters)
        add_winograd_backward(calls, case, flat_m, dxw.reshape(IMAGES, -1, conv.c), dww)
    times = compare(calls, seconds)
    weight = case.torch_backward(1, False)()[1]
    case.check("dw NCHW", dw.reshape(weight.shape), weight)
    case.check("dw NHWC", np.moveaxis(dwl.reshape(conv.filters, conv.kernel, conv.kernel, conv.c), -1, 1), weight)
    if conv.stride == 1:
        data = case.torch_backward(0, False)()[0]
        case.check("dx NCHW", dx, data)
        case.check("dx NHWC", np.moveaxis(dxl, -1, 1), data)
        case.check("dx flipped", np.moveaxis(dx3.reshape(dxl.shape), -1, 1), data)
    if flat_m:
        case.check("dx Winograd", np.moveaxis(dxw, -1, 1), data)
        case.check(
            "dw Winograd", dww.reshape(conv.kernel, conv.kernel, conv.c, conv.filters).transpose(3, 2, 0, 1), weight
        )
    print()
    table(
        [f"{conv.name} backward, {IMAGES} images", "how", "ms", "GFLOP/s"],
        [[*key, 1e3 * t, conv.gflop / t] for key, t in times.items()],
    )


def main(seconds: float) -> None:
    one_blas_thread()
    measure_forward(CONV2, (3, 9, 14, 27), (2,), 3, seconds)
    measure_forward(CONV3, (7, 13), (2, 4, 8), 4, seconds)
    measure_forward(CONV1, (1, 2, 5, 11, 55), (), 0, seconds)
    measure_forward(CONV1_BOTH, (1, 2, 5, 11, 55), (), 0, seconds)
    measure_backward(CONV2, (1, 2, 4), 3, seconds)
    measure_backward(CONV3, (1, 2, 4), 4, seconds)
    measure_backward(CONV1, (1,), 0, seconds)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
