"""Winograd's transforms by Cook and Toom's interpolation: exact matrices, and straight-line code for vectors of them.

F(m, r) gives ``m`` outputs of a correlation with ``r`` taps from n = m + r - 1 products: the polynomials that tile and
filter stand for are evaluated at n points, multiplied there, and the product is interpolated, all of it transposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TypeAlias

from alexdsl.ir.kernels import Scalar
from alexdsl_cpu.dialect import CPU, LANES

Matrix: TypeAlias = tuple[tuple[Fraction, ...], ...]
Terms: TypeAlias = Sequence[tuple[Fraction, str]]

POINTS = tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2")))
"""Where polynomials are evaluated, and at infinity after as many of them as a tile takes. Powers of two, with opposite
ones side by side: cheap and exact. An eighth would cost ten times the rounding error (docs/performance.md)."""
PAST = "stream" if LANES == 16 else "store"
"""How ``line`` writes to many places in turn, far apart: past the caches where a vector is a whole line of theirs, for
half a line would wait to be joined with the other."""
ONES = 1
"""The place of the point 1, where a polynomial's value is the sum of its coefficients."""


@dataclass(frozen=True)
class Transforms:
    """output ((kernel g) * (input d)) is the correlation of d, of n numbers, with g, of r: m numbers."""

    output: Matrix
    kernel: Matrix
    input: Matrix


@cache
def transforms(m: int, r: int) -> Transforms:
    """The matrices of F(m, r), exact. Raises ValueError where there are too few points."""
    n = m + r - 1
    if n - 1 > len(POINTS):
        raise ValueError(f"F({m}, {r}) needs {n - 1} points, there are {len(POINTS)}")
    points = POINTS[: n - 1]
    others = [[q for q in points if q != p] for p in points]
    scales = [_product([p - q for q in rest]) for p, rest in zip(points, others, strict=True)]
    return Transforms(
        transpose((*(_powers(p, m) for p in points), _unit(m))),
        (*(tuple(v / s for v in _powers(p, r)) for p, s in zip(points, scales, strict=True)), _unit(r)),
        (*((*_from_roots(rest), Fraction(0)) for rest in others), _from_roots(points)),
    )


def transpose(matrix: Matrix) -> Matrix:
    """Rows for columns."""
    return tuple(zip(*matrix, strict=True))


def _powers(p: Fraction, count: int) -> tuple[Fraction, ...]:
    return tuple(p**i for i in range(count))


def _unit(count: int) -> tuple[Fraction, ...]:
    """What a polynomial of ``count`` coefficients is at infinity: its last one."""
    return tuple(Fraction(int(i == count - 1)) for i in range(count))


def _product(numbers: Sequence[Fraction]) -> Fraction:
    found = Fraction(1)
    for number in numbers:
        found *= number
    return found


def _from_roots(roots: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """The coefficients of the polynomial with these roots, lowest first."""
    found = [Fraction(1)]
    for root in roots:
        found = [a - root * b for a, b in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return tuple(found)


def line(matrix: Matrix, write: str = "store") -> Scalar:
    """Straight-line code of a matrix times vectors: ``y[to + i * apart] = sum of matrix[i][j] x[at + j * step]``.

    ``write`` is store or stream. Columns of equal size and rows of equal size (those of opposite points) share their
    sums.
    """
    count = len(matrix[0])
    lines = [f"x{j} = load(x, {_place('at', j, 'step')})" for j in range(count)]
    rows: list[Terms] = [[] for _ in matrix]
    taken: set[int] = set()
    for j in range(count):
        if j in taken:
            continue
        k = next((k for k in range(j + 1, count) if k not in taken and _alike(matrix, j, k)), None)
        if k is not None:
            taken.add(k)
            lines += [f"p{j} = x{j} + x{k}", f"q{j} = x{j} - x{k}"]
        for i, row in enumerate(matrix):
            name = f"x{j}" if k is None else f"p{j}" if row[j] == row[k] else f"q{j}"
            rows[i] = [*rows[i], (row[j], name)] if row[j] else rows[i]
    done: set[int] = set()
    for i, terms in enumerate(rows):
        if i in done:
            continue
        k = next((k for k in range(i + 1, len(rows)) if k not in done and _opposite(terms, rows[k])), None)
        if k is None:
            lines.append(f"{write}(y, {_place('to', i, 'apart')}, {_sum(terms)})")
            continue
        done.add(k)
        same = [term for term in terms if term in rows[k]]
        lines.append(f"e{i} = {_sum(same)}")
        lines.append(f"o{i} = {_sum([term for term in terms if term not in same])}")
        lines.append(f"{write}(y, {_place('to', i, 'apart')}, e{i} + o{i})")
        lines.append(f"{write}(y, {_place('to', k, 'apart')}, e{i} - o{i})")
    return Scalar(("x", "at", "step", "y", "to", "apart"), lines, "None")


def _place(first: str, count: int, distance: str) -> str:
    """The expression ``first + count * distance``, short: every operation costs time where it is compiled."""
    return first if count == 0 else f"{first} + {distance}" if count == 1 else f"{first} + {count} * {distance}"


def _alike(matrix: Matrix, j: int, k: int) -> bool:
    """Whether two columns differ by signs, and are neither equal nor opposite."""
    signs = {row[j] == row[k] for row in matrix if row[j] or row[k]}
    return all(abs(row[j]) == abs(row[k]) for row in matrix) and len(signs) == 2


def _opposite(row: Terms, other: Terms) -> bool:
    """Whether two rows have the same terms but for some signs."""
    sizes = [[(abs(value), name) for value, name in terms] for terms in (row, other)]
    same = [term for term in row if term in other]
    return sizes[0] == sizes[1] and 0 < len(same) < len(row)


def _sum(terms: Terms) -> str:
    """The terms as an expression."""
    text = ""
    for value, name in terms:
        size = name if abs(value) == 1 else f"{CPU.number(float(abs(value)))} * {name}"
        if not text:
            text = size if value > 0 else f"{CPU.number(float(value))} * {name}"
        else:
            text += f" {'+' if value > 0 else '-'} {size}"
    return text
