"""Pieces of a convolution layer for one image, channels last: x[h, w, c], y[pixel, c]; no kernel here is parallel."""

import numpy as np
from numba import njit

from benchmarks.measure.setup import FLAGS

ALPHA, KAPPA = np.float32(1e-4), np.float32(2)
ZERO, ONE = np.float32(0), np.float32(1)


@njit("void(f4[::1],f4[::1])", cache=True, **FLAGS)
def copy(source, target):
    for i in range(target.shape[0]):
        target[i] = source[i]


@njit("void(f4[::1],f4[::1])", cache=True, **FLAGS)
def add(source, target):
    for i in range(target.shape[0]):
        target[i] += source[i]


@njit("void(f4[:,:,::1],f4[:,::1],i8,i8,i8,i8,i8,i8)", cache=True, **FLAGS)
def im2col(x, col, first, rows, kernel, stride, pad, width):
    """col[pixel, (ky, kx, c)] of output rows first .. first+rows; a kernel row is one contiguous run of x."""
    height, wide, c = x.shape
    flat = x.reshape(x.size)
    run = kernel * c
    for row in range(rows):
        for ox in range(width):
            target = col[row * width + ox]
            left = ox * stride - pad
            skip, end = max(0, -left), min(kernel, wide - left)
            for ky in range(kernel):
                iy = (first + row) * stride + ky - pad
                base = ky * run
                if iy < 0 or iy >= height:
                    target[base : base + run] = ZERO
                    continue
                start = (iy * wide + left) * c
                if skip:
                    target[base : base + skip * c] = ZERO
                if end < kernel:
                    target[base + end * c : base + run] = ZERO
                copy(flat[start + skip * c : start + end * c], target[base + skip * c : base + end * c])


@njit("void(f4[:,::1],f4[:,:,::1],i8,i8,i8,i8)", cache=True, **FLAGS)
def col2im(col, dx, kernel, stride, pad, width):
    """The transpose of im2col: adds a whole image's col into dx (set to zero here)."""
    height, wide, c = dx.shape
    flat = dx.reshape(dx.size)
    flat[:] = ZERO
    run = kernel * c
    for pixel in range(col.shape[0]):
        source = col[pixel]
        oy, ox = pixel // width, pixel % width
        left = ox * stride - pad
        skip, end = max(0, -left), min(kernel, wide - left)
        for ky in range(kernel):
            iy = oy * stride + ky - pad
            if 0 <= iy < height:
                start = (iy * wide + left) * c
                add(source[ky * run + skip * c : ky * run + end * c], flat[start + skip * c : start + end * c])


@njit("void(f4[:,::1],f4[::1])", cache=True, **FLAGS)
def bias_relu(y, bias):
    for pixel in range(y.shape[0]):
        row = y[pixel]
        for c in range(bias.shape[0]):
            value = row[c] + bias[c]
            row[c] = value if value > ZERO else ZERO


@njit("void(f4[:,::1],f4[:,::1],f4[:,::1])", cache=True, **FLAGS)
def lrn(y, squares, z):
    """z = y / s**0.75, s = 2 + 1e-4 * sum of five squares; squares[width, c + 4] is scratch with zero margins."""
    channels, strip = y.shape[1], squares.shape[0]
    for first in range(0, y.shape[0], strip):
        for pixel in range(min(strip, y.shape[0] - first)):
            row, square = y[first + pixel], squares[pixel, 2:]
            for c in range(channels):
                square[c] = row[c] * row[c]
        for pixel in range(min(strip, y.shape[0] - first)):
            row, out, square = y[first + pixel], z[first + pixel], squares[pixel]
            for c in range(channels):
                total = square[c] + square[c + 1] + square[c + 2] + square[c + 3] + square[c + 4]
                s = KAPPA + ALPHA * total
                out[c] = row[c] * (ONE / np.sqrt(s * np.sqrt(s)))


@njit("void(f4[:,::1],f4[:,::1],f4[:,::1],f4[:,::1],f4[:,::1])", cache=True, **FLAGS)
def lrn_relu_backward(y, dz, squares, terms, dy):
    """dy = (y > 0) * (dz * s**-0.75 - 1.5e-4 * y * sum of five dz * y * s**-1.75)."""
    channels, strip = y.shape[1], squares.shape[0]
    factor = np.float32(1.5) * ALPHA
    for first in range(0, y.shape[0], strip):
        here = min(strip, y.shape[0] - first)
        for pixel in range(here):
            row, square = y[first + pixel], squares[pixel, 2:]
            for c in range(channels):
                square[c] = row[c] * row[c]
        for pixel in range(here):
            row, grad, out = y[first + pixel], dz[first + pixel], dy[first + pixel]
            square, term = squares[pixel], terms[pixel, 2:]
            for c in range(channels):
                total = square[c] + square[c + 1] + square[c + 2] + square[c + 3] + square[c + 4]
                s = KAPPA + ALPHA * total
                scaled = grad[c] * (ONE / np.sqrt(s * np.sqrt(s)))
                out[c] = scaled
                term[c] = scaled * row[c] / s
        for pixel in range(here):
            row, out, term = y[first + pixel], dy[first + pixel], terms[pixel]
            for c in range(channels):
                total = term[c] + term[c + 1] + term[c + 2] + term[c + 3] + term[c + 4]
                value = out[c] - factor * row[c] * total
                out[c] = value if row[c] > ZERO else ZERO


@njit("void(f4[:,::1],f4[:,::1],u1[:,::1],i8,i8,i8)", cache=True, **FLAGS)
def maxpool(z, out, winner, width, first, last):
    """Rows first .. last of a 3x3 stride-2 pool; winner is the place in the window, the first on a tie."""
    channels, wide = z.shape[1], (width - 3) // 2 + 1
    for oy in range(first, last):
        for ox in range(wide):
            best, place = out[oy * wide + ox], winner[oy * wide + ox]
            corner = 2 * oy * width + 2 * ox
            r0, r1, r2 = z[corner], z[corner + 1], z[corner + 2]
            r3, r4, r5 = z[corner + width], z[corner + width + 1], z[corner + width + 2]
            r6, r7, r8 = z[corner + 2 * width], z[corner + 2 * width + 1], z[corner + 2 * width + 2]
            for c in range(channels):
                value, at = r0[c], np.int32(0)
                at = np.int32(1) if r1[c] > value else at
                value = r1[c] if r1[c] > value else value
                at = np.int32(2) if r2[c] > value else at
                value = r2[c] if r2[c] > value else value
                at = np.int32(3) if r3[c] > value else at
                value = r3[c] if r3[c] > value else value
                at = np.int32(4) if r4[c] > value else at
                value = r4[c] if r4[c] > value else value
                at = np.int32(5) if r5[c] > value else at
                value = r5[c] if r5[c] > value else value
                at = np.int32(6) if r6[c] > value else at
                value = r6[c] if r6[c] > value else value
                at = np.int32(7) if r7[c] > value else at
                value = r7[c] if r7[c] > value else value
                at = np.int32(8) if r8[c] > value else at
                best[c] = r8[c] if r8[c] > value else value
                place[c] = np.uint8(at)


@njit("void(f4[:,::1],u1[:,::1],f4[:,::1],i8)", cache=True, **FLAGS)
def maxpool_backward(dout, winner, dz, width):
    """dz gathers: every input looks at the (up to four) windows that hold it, no scatter."""
    channels, wide = dz.shape[1], (width - 3) // 2 + 1
    for pixel in range(dz.shape[0]):
        target = dz[pixel]
        target[:] = ZERO
        iy, ix = pixel // width, pixel % width
        for oy in range(max(0, (iy - 1) // 2), min(wide, iy // 2 + 1)):
            for ox in range(max(0, (ix - 1) // 2), min(wide, ix // 2 + 1)):
                mine = np.uint8((iy - 2 * oy) * 3 + ix - 2 * ox)
                grad, place = dout[oy * wide + ox], winner[oy * wide + ox]
                for c in range(channels):
                    target[c] += grad[c] if place[c] == mine else ZERO
