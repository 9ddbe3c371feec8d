"""Philox 4x32-10: every random number of a run, addressed by (seed, purpose) and (step, index in the batch, element).

Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", 2011. The convention, for kernels on any
device as for this module:

    key     = the first 8 bytes of a hash of seed and purpose (a layer's or weight's name, ``data/...``)
    counter = (element // 4, index in the global batch, low 32 bits of the step, high 32 bits of the step)
    element e takes word e % 4 of the result

so that a number depends on what it is for, never on who draws it or when.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Key: TypeAlias = tuple[int, int]
Words: TypeAlias = NDArray[np.uint32]

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85  # the golden ratio and sqrt(3) - 1
_MASK, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_BLOCKS = 1 << 13  # counters worked on at a time: the uint64 arrays of a round stay in the second-level cache


def key(seed: int, purpose: str) -> Key:
    """The two key words for a purpose under a seed (any int): BLAKE2b of the text ``seed/purpose``, little-endian."""
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def philox(counter: ArrayLike, key: Key) -> Words:
    """The generator itself: uint32 [..., 4] of counters to uint32 [..., 4] of random words."""
    counters = np.asarray(counter, np.uint64)
    result = np.empty(counters.shape, np.uint32)
    flat, out = counters.reshape(-1, 4), result.reshape(-1, 4)
    for start in range(0, len(flat), _BLOCKS):
        c0, c1, c2, c3 = (np.ascontiguousarray(column) for column in flat[start : start + _BLOCKS].T)
        _rounds(c0, c1, c2, c3, key, out[start : start + _BLOCKS])
    return result


def _rounds(c0: Any, c1: Any, c2: Any, c3: Any, key: Key, out: Words) -> None:
    """Words of a counter may be arrays, or numbers where all are equal: the first rounds are cheaper then."""
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c2 = p1 >> _HALF, p0 >> _HALF
        # In place: to make new arrays takes as long as to compute what is in them.
        c0 ^= c1
        c0 ^= np.uint64(k0)
        c2 ^= c3
        c2 ^= np.uint64(k1)
        p1 &= _MASK
        p0 &= _MASK
        c1, c3 = p1, p0
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    for word, values in enumerate((c0, c1, c2, c3)):
        out[:, word] = values


def words(key: Key, elements: int, *, indices: ArrayLike = (0,), step: int = 0, first: int = 0) -> Words:
    """Random words uint32 [len(indices), elements]: elements ``first``.. at these places of a step's global batch."""
    rows = np.asarray(indices, np.uint64).reshape(-1)
    if first % 4:
        return words(key, elements + first % 4, indices=rows, step=step, first=first - first % 4)[:, first % 4 :]
    blocks = -(-elements // 4)
    out = np.empty((len(rows) * blocks, 4), np.uint32)
    for start in range(0, len(out), _BLOCKS):
        part = np.arange(start, min(start + _BLOCKS, len(out)), dtype=np.uint64)
        row, block = (0, part) if len(rows) == 1 else np.divmod(part, np.uint64(blocks))
        low, high = np.uint64(step & 0xFFFFFFFF), np.uint64(step >> 32)
        _rounds(block + np.uint64(first // 4), rows[row], low, high, key, out[start : start + _BLOCKS])
    return out.reshape(len(rows), blocks * 4)[:, :elements]


def as_uniforms(words: Words) -> NDArray[np.float64]:
    """Numbers inside (0, 1), never 0 or 1: (word + 1/2) / 2^32."""
    return (words.astype(np.float64) + 0.5) * 2.0**-32


def as_integers(words: Words, bound: ArrayLike) -> NDArray[np.int64]:
    """Whole numbers in [0, bound): word * bound / 2^32, rounded down. A value's probability is off by at most 2^-32."""
    return ((words.astype(np.uint64) * np.asarray(bound, np.uint64)) >> _HALF).astype(np.int64)


def as_normals(words: Words) -> NDArray[np.float64]:
    """Standard normal numbers by Box and Muller: elements 2i and 2i+1 are the cosine and sine of one pair of words.

    The last axis must be even. Tails end at 6.8 standard deviations, the price of 32 bits. Only for the host: log and
    cos differ between libraries in the last bit.
    """
    uniforms = as_uniforms(words)
    # Contiguous copies: the same vector code then runs whatever slice of a batch is asked for.
    radius = np.log(np.ascontiguousarray(uniforms[..., 0::2]))
    radius *= -2.0
    np.sqrt(radius, out=radius)
    # Cosine and sine of an angle from the tangent of its half: NumPy has a fast tan, and the two by name take ten times
    # as long. The uniforms are never exactly 1/2, where the tangent has its pole.
    tangent = np.ascontiguousarray(uniforms[..., 1::2])
    tangent *= math.pi
    np.tan(tangent, out=tangent)
    square = tangent * tangent
    radius /= 1.0 + square
    out = np.empty(words.shape, np.float64)
    np.subtract(1.0, square, out=square)
    tangent *= 2.0
    np.multiply(square, radius, out=out[..., 0::2])
    np.multiply(tangent, radius, out=out[..., 1::2])
    return out


class Draws:
    """Random numbers of one purpose in element order (step 0, index 0), as initialisers of weights take them."""

    def __init__(self, seed: int, purpose: str, first: int = 0) -> None:
        """``first``: the element to begin with, so that parts of a weight are drawn as the whole would be."""
        self._key, self._first = key(seed, purpose), first

    def normals(self, count: int) -> NDArray[np.float64]:
        """Standard normal float64 [count]; a longer draw begins with a shorter one's numbers."""
        return self._fill(count, as_normals)

    def uniforms(self, count: int) -> NDArray[np.float64]:
        """float64 [count] inside (0, 1)."""
        return self._fill(count, as_uniforms)

    def _fill(self, count: int, convert: Any) -> NDArray[np.float64]:
        lead = self._first % 4  # numbers come in fours, of which normal ones need pairs
        if lead:
            return Draws._fill_from(self._key, self._first - lead, count + lead, convert)[lead:]
        return Draws._fill_from(self._key, self._first, count, convert)

    @staticmethod
    def _fill_from(key: Key, first: int, count: int, convert: Any) -> NDArray[np.float64]:
        out = np.empty(count, np.float64)
        for start in range(0, count, 4 * _BLOCKS):  # by parts: a weight of 38 million needs no gigabytes of temporaries
            part = out[start : start + 4 * _BLOCKS]
            part[:] = convert(words(key, -(-len(part) // 2) * 2, first=first + start)[0])[: len(part)]
        return out


def normals(seed: int, purpose: str, count: int) -> NDArray[np.float64]:
    """Standard normal float64 [count] for a purpose."""
    return Draws(seed, purpose).normals(count)


def uniforms(seed: int, purpose: str, count: int) -> NDArray[np.float64]:
    """float64 [count] inside (0, 1) for a purpose."""
    return Draws(seed, purpose).uniforms(count)


def dropout_threshold(p: float) -> int:
    """The least word that keeps an element when a fraction ``p`` in [0, 1) is dropped, as a uint32."""
    if not 0 <= p < 1:
        raise ValueError(f"dropout drops a fraction from 0 to below 1, not {p}")
    return min(math.ceil(p * 2**32), 2**32 - 1)


def dropout_mask(
    seed: int, layer: str, step: int, n: int, elements: int, p: float, *, first_index: int = 0, first_element: int = 0
) -> NDArray[np.bool_]:
    """Which elements a dropout layer keeps: bool [n, elements], the reference for every backend's kernel.

    The key is ``key(seed, layer)``; rows are the places ``first_index``.. of the global batch, columns the elements
    ``first_element``.. of the whole, uncut value (channel-major). Kept where word >= p * 2^32.
    """
    indices = np.arange(first_index, first_index + n)
    drawn = words(key(seed, layer), elements, indices=indices, step=step, first=first_element)
    return drawn >= np.uint32(dropout_threshold(p))
