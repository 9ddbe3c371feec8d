"""Pieces of a convolution layer for one image, channels first: x[c, h, w], y[c, pixel]; no kernel here is parallel."""

import numpy as np
from numba import njit

from benchmarks.measure.nhwc import ALPHA, KAPPA, ONE, ZERO, add, copy
from benchmarks.measure.setup import FLAGS


@njit("void(f4[:,:,::1],f4[:,::1],i8,i8,i8,i8,i8,i8)", cache=True, **FLAGS)
def im2col(x, col, first, rows, kernel, stride, pad, width):
    """col[(c, ky, kx), pixel] of output rows first .. first+rows."""
    channels, height, wide = x.shape
    for k in range(channels * kernel * kernel):
        c, ky, kx = k // (kernel * kernel), k // kernel % kernel, k % kernel
        low = max(0, (pad - kx + stride - 1) // stride)
        high = min(width, (wide - 1 + pad - kx) // stride + 1)
        for row in range(rows):
            target = col[k, row * width : row * width + width]
            iy = (first + row) * stride + ky - pad
            if iy < 0 or iy >= height:
                target[:] = ZERO
                continue
            target[:low] = ZERO
            target[high:] = ZERO
            source = x[c, iy, low * stride + kx - pad :]
            if stride == 1:
                copy(source, target[low:high])
            else:
                inner = target[low:high]
                for i in range(high - low):
                    inner[i] = source[i * stride]


@njit("void(f4[:,::1],f4[:,:,::1],i8,i8,i8,i8)", cache=True, **FLAGS)
def col2im(col, dx, kernel, stride, pad, width):
    """The transpose of im2col for stride 1: adds a whole image's col into dx (set to zero here)."""
    channels, height, wide = dx.shape
    dx[:] = ZERO
    for k in range(channels * kernel * kernel):
        c, ky, kx = k // (kernel * kernel), k // kernel % kernel, k % kernel
        low, high = max(0, pad - kx), min(width, wide + pad - kx)
        for row in range(col.shape[1] // width):
            iy = row + ky - pad
            if 0 <= iy < height:
                start = low + kx - pad
                add(col[k, row * width + low : row * width + high], dx[c, iy, start : start + high - low])


@njit("void(f4[:,::1],f4[::1],i8,i8)", cache=True, **FLAGS)
def bias_relu(y, bias, first, last):
    for c in range(bias.shape[0]):
        row, b = y[c, first:last], bias[c]
        for i in range(last - first):
            value = row[i] + b
            row[i] = value if value > ZERO else ZERO


@njit("void(f4[:,::1],f4[:,::1],f4[:,::1],i8,i8)", cache=True, **FLAGS)
def lrn(y, squares, z, first, last):
    """As in nhwc; squares[c + 4, strip] is scratch with two zero rows at either end."""
    channels, strip = y.shape[0], squares.shape[1]
    for start in range(first, last, strip):
        here = min(strip, last - start)
        for c in range(channels):
            row, square = y[c, start:], squares[c + 2]
            for i in range(here):
                square[i] = row[i] * row[i]
        for c in range(channels):
            row, out = y[c, start:], z[c, start:]
            q0, q1, q2, q3, q4 = squares[c], squares[c + 1], squares[c + 2], squares[c + 3], squares[c + 4]
            for i in range(here):
                s = KAPPA + ALPHA * (q0[i] + q1[i] + q2[i] + q3[i] + q4[i])
                out[i] = row[i] * (ONE / np.sqrt(s * np.sqrt(s)))


@njit("void(f4[:,::1],f4[:,::1],f4[:,::1],f4[:,::1],f4[:,::1])", cache=True, **FLAGS)
def lrn_relu_backward(y, dz, squares, terms, dy):
    channels, pixels = y.shape
    strip = squares.shape[1]
    factor = np.float32(1.5) * ALPHA
    for start in range(0, pixels, strip):
        here = min(strip, pixels - start)
        for c in range(channels):
            row, square = y[c, start:], squares[c + 2]
            for i in range(here):
                square[i] = row[i] * row[i]
        for c in range(channels):
            row, grad, out, term = y[c, start:], dz[c, start:], dy[c, start:], terms[c + 2]
            q0, q1, q2, q3, q4 = squares[c], squares[c + 1], squares[c + 2], squares[c + 3], squares[c + 4]
            for i in range(here):
                s = KAPPA + ALPHA * (q0[i] + q1[i] + q2[i] + q3[i] + q4[i])
                scaled = grad[i] * (ONE / np.sqrt(s * np.sqrt(s)))
                out[i] = scaled
                term[i] = scaled * row[i] / s
        for c in range(channels):
            row, out = y[c, start:], dy[c, start:]
            q0, q1, q2, q3, q4 = terms[c], terms[c + 1], terms[c + 2], terms[c + 3], terms[c + 4]
            for i in range(here):
                value = out[i] - factor * row[i] * (q0[i] + q1[i] + q2[i] + q3[i] + q4[i])
                out[i] = value if row[i] > ZERO else ZERO


@njit("void(f4[:,::1],f4[:,::1],u1[:,::1],i8,i8,i8)", cache=True, **FLAGS)
def maxpool(z, out, winner, width, first, last):
    """Rows first .. last of a 3x3 stride-2 pool; the inner loop strides by two."""
    wide = (width - 3) // 2 + 1
    for c in range(z.shape[0]):
        for oy in range(first, last):
            best, place = out[c, oy * wide : oy * wide + wide], winner[c, oy * wide : oy * wide + wide]
            corner = z[c, 2 * oy * width : (2 * oy + 3) * width]
            for ox in range(wide):
                value, at = corner[2 * ox], np.int32(0)
                for ky in range(3):
                    for kx in range(3):
                        other = corner[ky * width + 2 * ox + kx]
                        at = np.int32(ky * 3 + kx) if other > value else at
                        value = other if other > value else value
                best[ox] = value
                place[ox] = np.uint8(at)


@njit("void(f4[:,::1],u1[:,::1],f4[:,::1],i8)", cache=True, **FLAGS)
def maxpool_backward(dout, winner, dz, width):
    """dz is set to zero, then every window adds to its winner."""
    wide = (width - 3) // 2 + 1
    for c in range(dz.shape[0]):
        target, grad, place = dz[c], dout[c], winner[c]
        target[:] = ZERO
        for oy in range(wide):
            for ox in range(wide):
                at = np.int64(place[oy * wide + ox])
                target[(2 * oy + at // 3) * width + 2 * ox + at % 3] += grad[oy * wide + ox]
