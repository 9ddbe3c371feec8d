"""Winograd F(m x m, r x r) for one tower, channels last, the 1-D transforms generated as vectorisable source."""

from collections.abc import Callable

import numpy as np
from numba import get_thread_id, njit, prange
from numpy.typing import NDArray

from benchmarks.measure.blas import N, T, sgemm
from benchmarks.measure.nhwc import ZERO, copy
from benchmarks.measure.setup import FLAGS

POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5)


def matrices(m: int, r: int) -> tuple[NDArray[np.float64], ...]:
    """A^T, G, B^T with A^T[(G g) * (B^T d)] = correlation of d (m+r-1) by g (r); B^T from the definition."""
    n = m + r - 1
    points = np.array(POINTS[: n - 1])
    at, g = np.zeros((m, n)), np.zeros((n, r))
    at[:, :-1] = points ** np.arange(m)[:, None]
    scale = [np.prod([p - q for q in points if q != p]) for p in points]
    g[:-1] = points[:, None] ** np.arange(r) / np.array(scale)[:, None]
    at[-1, -1] = g[-1, -1] = 1
    system = (at[:, None, :] * g.T[None, :, :]).reshape(m * r, n)
    want = np.array([[k == i + j for k in range(n)] for i in range(m) for j in range(r)], float)
    bt = np.linalg.lstsq(system, want, rcond=None)[0]
    return at, g, np.where(abs(bt) < 1e-9, 0, bt)


def combiner(matrix: NDArray[np.float64]) -> Callable[..., None]:
    """target row i = sum of matrix[i, j] * source row j; one loop per output keeps LLVM's alias checks few."""
    lines = ["def combine(source, so, ss, target, to, ts, count):"]
    lines += [f"    s{j} = source[so + {j} * ss : so + {j} * ss + count]" for j in range(matrix.shape[1])]
    for i, row in enumerate(matrix):
        terms = " + ".join(f"f4({value!r}) * s{j}[c]" for j, value in enumerate(map(float, row)) if value)
        lines += [
            f"    t = target[to + {i} * ts : to + {i} * ts + count]",
            "    for c in range(count):",
            f"        t[c] = {terms}",
        ]
    scope = {"f4": np.float32}
    exec("\n".join(lines), scope)
    return njit("void(f4[::1],i8,i8,f4[::1],i8,i8,i8)", **FLAGS)(scope["combine"])


def transform_weights(m: int, r: int) -> Callable[..., None]:
    """G w G^T of w[r * r * c, filters] into u[n * n, c, filters]: the product V u needs no transposed operand."""
    _, g, _ = matrices(m, r)
    apply_g, n = combiner(g), m + r - 1

    @njit("void(f4[:,::1],f4[:,:,::1],f4[:,::1])", parallel=True, **FLAGS)
    def run(w, u, temporary):
        _, channels, filters = u.shape
        flat, every = w.reshape(w.size), u.reshape(u.size)
        for c in prange(channels):
            t = temporary[get_thread_id()]
            for j in range(r):
                apply_g(
                    flat, (j * channels + c) * filters, r * channels * filters, t, j * filters, r * filters, filters
                )
            for a in range(n):
                target = (a * n * channels + c) * filters
                apply_g(t, a * r * filters, filters, every, target, channels * filters, filters)

    return run


def split(m: int, r: int) -> Callable[..., None]:
    """One image's input tiles B^T d B into vv[n * n, tiles, channels], at tile `base`."""
    _, _, bt = matrices(m, r)
    apply_b, n = combiner(bt), m + r - 1

    @njit("void(f4[:,:,::1],i8,f4[::1],f4[::1],f4[::1],i8,i8)", **FLAGS)
    def run(x, pad, big, t, vv, base, tiles):
        side, _, channels = x.shape
        wide = (side + m - 1) // m
        edge = wide * m + r - 1
        flat = x.reshape(x.size)
        for y in range(edge):
            row = big[y * edge * channels : (y + 1) * edge * channels]
            row[:] = ZERO
            if pad <= y < pad + side:
                start = (y - pad) * side * channels
                copy(flat[start : start + side * channels], row[pad * channels : (pad + side) * channels])
        for tile in range(wide * wide):
            corner = (tile // wide * m * edge + tile % wide * m) * channels
            for j in range(n):
                apply_b(big, corner + j * channels, edge * channels, t, j * channels, n * channels, channels)
            for a in range(n):
                target = (a * n * tiles + base + tile) * channels
                apply_b(t, a * n * channels, channels, vv, target, tiles * channels, channels)

    return run


def weight_gradient(m: int, r: int) -> Callable[..., None]:
    """dw[r * r * c, f] of x and dy: tiles in parallel over images, then one product per point over all tiles."""
    at, g, _ = matrices(m, r)
    tiles_of, spread, fold, n = split(m, r), combiner(at.T), combiner(g.T), m + r - 1

    @njit(
        "void(f4[:,:,:,::1],f4[:,:,::1],f4[:,::1],i8,f4[:,::1],f4[:,::1],f4[::1],f4[::1],f4[:,:,::1])",
        parallel=True,
        **FLAGS,
    )
    def run(x, dy, dw, pad, padded, temporary, v, p, du):
        images, side, _, channels = x.shape
        filters = dy.shape[2]
        wide = (side + m - 1) // m
        tiles = images * wide * wide
        for image in prange(images):
            me = get_thread_id()
            t = temporary[me]
            tiles_of(x[image], pad, padded[me], t, v, image * wide * wide, tiles)
            flat = dy[image].reshape(side * side * filters)
            work = m * m * filters
            for tile in range(wide * wide):
                ty, tx = tile // wide * m, tile % wide * m
                for i in range(m):
                    line = t[i * m * filters : (i + 1) * m * filters]
                    count = min(m, side - tx) * filters if ty + i < side else 0
                    line[count:] = ZERO
                    start = ((ty + i) * side + tx) * filters
                    if count:
                        copy(flat[start : start + count], line[:count])
                for j in range(m):
                    spread(t, j * filters, m * filters, t, work + j * filters, m * filters, filters)
                for a in range(n):
                    target = (a * n * tiles + image * wide * wide + tile) * filters
                    spread(t, work + a * m * filters, filters, p, target, tiles * filters, filters)
        for xi in prange(n * n):
            left, right = v[xi * tiles * channels :], p[xi * tiles * filters :]
            sgemm(T, N, channels, filters, tiles, 1, left, channels, right, filters, 0, du[xi], filters)
        every, flat_dw = du.reshape(du.size), dw.reshape(dw.size)
        for c in prange(channels):
            t = temporary[get_thread_id()]
            for b in range(n):
                fold(every, (b * channels + c) * filters, n * channels * filters, t, b * filters, n * filters, filters)
            for i in range(r):
                target = (i * r * channels + c) * filters
                fold(t, i * n * filters, filters, flat_dw, target, channels * filters, filters)

    return run


def forward(m: int, r: int) -> Callable[..., None]:
    """(x[i,h,w,c], u, out[i,pixel,f], pad, images per group, scratch: padded, t, v, p) for F(m x m, r x r)."""
    at, _, _ = matrices(m, r)
    tiles_of, apply_a = split(m, r), combiner(at)
    n = m + r - 1

    @njit(
        ["void(f4[:,:,:,::1],f4[:,:,::1],f4[:,:,::1],i8,i8,f4[:,::1],f4[:,::1],f4[:,::1],f4[:,::1])"],
        parallel=True,
        **FLAGS,
    )
    def run(x, u, out, pad, group, padded, temporary, v, p):
        images, side, _, channels = x.shape
        filters = u.shape[2]
        wide = (side + m - 1) // m
        tiles = group * wide * wide
        for task in prange(images // group):
            me = get_thread_id()
            big, t, vv, pp = padded[me], temporary[me], v[me], p[me]
            for g in range(group):
                tiles_of(x[task * group + g], pad, big, t, vv, g * wide * wide, tiles)
            for xi in range(n * n):
                left, result = vv[xi * tiles * channels :], pp[xi * tiles * filters :]
                sgemm(N, N, tiles, filters, channels, 1, left, channels, u[xi], filters, 0, result, filters)
            for g in range(group):
                y_flat = out[task * group + g].reshape(side * side * filters)
                for tile in range(wide * wide):
                    here = g * wide * wide + tile
                    for b in range(n):
                        apply_a(
                            pp, (b * tiles + here) * filters, n * tiles * filters, t, b * filters, n * filters, filters
                        )
                    for i in range(min(m, side - tile // wide * m)):
                        line = m * n * filters
                        apply_a(t, i * n * filters, filters, t, line, filters, filters)
                        ox = tile % wide * m
                        count = min(m, side - ox) * filters
                        start = ((tile // wide * m + i) * side + ox) * filters
                        copy(t[line : line + count], y_flat[start : start + count])

    return run
