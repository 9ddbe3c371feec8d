"""A shuffled order that is computed, not stored: any position of any epoch at once, in no memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alexdsl.ir.philox import as_integers, key, philox

ROUNDS = 8
BLOCK = 1 << 18
"""Positions computed at once: their random words take some tens of megabytes."""


def permutation(
    seed: int, epoch: int, n: int, positions: ArrayLike | None = None, purpose: str = "data/shuffle"
) -> NDArray[np.int64]:
    """Which of ``n`` things stand at ``positions`` (default: all of them) of this epoch's order: int64, of that shape.

    A Feistel network over a grid of a x b >= n cells whose round functions are Philox words (Black and Rogaway,
    "Ciphers with Arbitrary Finite Domains", 2002): a cell (left, right) is changed in turn by left += F(right) mod a
    and right += F(left) mod b. Results of n or more, at most about sqrt(n) cells, are sent through again until they
    fall inside, which keeps it one to one. Counter of F: (half, round, epoch low, epoch high).
    """
    asked = np.arange(n, dtype=np.int64) if positions is None else np.asarray(positions, np.int64)
    if asked.size and (asked.min() < 0 or asked.max() >= n):
        raise ValueError(f"positions must lie in 0..{n - 1}")
    a = math.isqrt(n - 1) + 1 if n > 1 else 1
    b = -(-n // a)
    words = key(seed, purpose)
    result = asked.reshape(-1).copy()
    for start in range(0, result.size, BLOCK):
        _permute(result[start : start + BLOCK], n, a, b, epoch, words)
    return result.reshape(asked.shape)


def _permute(result: NDArray[np.int64], n: int, a: int, b: int, epoch: int, words: tuple[int, int]) -> None:
    """Put what stands at some positions into their place."""
    todo = np.arange(result.size)
    while todo.size:
        left, right = np.divmod(result[todo], b)
        for turn in range(ROUNDS):
            if turn % 2:
                right = (right + _function(left, turn, epoch, words, b)) % b
            else:
                left = (left + _function(right, turn, epoch, words, a)) % a
        result[todo] = left * b + right
        todo = todo[result[todo] >= n]


def _function(half: NDArray[np.int64], turn: int, epoch: int, words: tuple[int, int], bound: int) -> NDArray[np.int64]:
    counters = np.empty((half.size, 4), np.uint64)
    counters[:, 0], counters[:, 1] = half, turn
    counters[:, 2], counters[:, 3] = epoch & 0xFFFFFFFF, epoch >> 32
    return as_integers(philox(counters, words)[:, 0], bound)
