"""Products of matrices in vectors that stay in registers, for many small ones: nothing is packed, nothing is called."""

from __future__ import annotations

from alexdsl.ir.kernels import Scalar, kernel
from alexdsl_cpu.dialect import LANES, Function
from alexdsl_cpu.processor import REGISTERS

ROWS = {4: 6, 3: 8, 2: 12, 1: 16} if REGISTERS == 32 else {3: 4, 2: 6, 1: 12}
"""Rows of a block by the vectors that each has: 24 sums (or 16) beside what they are made of in 32 registers, 12 in
16."""


@kernel
def product(a, ai, ak, b, bk, c, ci, rows, columns, depth, add, *, ROWS, WIDE, BLOCK: Function):
    """c[i, j] = sum of a[i, k] b[k, j], or c plus it, by blocks of ROWS x WIDE; both are rounded up to whole blocks.

    ``ai``, ``ak``, ``bk``, ``ci`` are the distances of rows and of columns.
    """
    for j in range(0, columns, WIDE):
        for i in range(0, rows, ROWS):
            BLOCK(a, i * ai, ai, 0, ak, b, j, bk, c, i * ci + j, ci, 1, depth, add)


COLUMNS = {1: 8, 2: 8, 3: 7, 4: 6, 5: 5, 6: 4} if REGISTERS == 32 else {1: 8, 2: 6, 3: 4}
"""Columns of a block of ``dots`` by its rows."""


def block(rows: int, vectors: int, ahead: int = 0) -> Scalar:
    """``product``'s BLOCK: the sums of ``rows`` rows of ``vectors`` vectors.

    They run over ``runs`` times ``depth`` rows of b; a's begin anew, ``ar`` further on, with every run. With ``ahead``
    it takes one more argument, a place in b: of as many rows from there on so many vectors are brought near meanwhile.
    """
    columns = range(vectors)
    lines = [f"c{i} = ct + {i} * ci" for i in range(rows)]
    lines += [
        f"s{i}_{j} = load(c, c{i} + {LANES * j}) if add else fill(f32(0.0))" for i in range(rows) for j in columns
    ]
    lines += ["for run in range(runs):", "    for k in range(depth):"]
    lines += ["        first, row = bt + (run * depth + k) * bk, at + run * ar + k * ak"]
    lines += [f"        b{j} = load(b, first + {LANES * j})" for j in columns]
    lines += [f"        prefetch(b, near + k * bk + {LANES * j})" for j in range(ahead)]
    for i in range(rows):
        lines += [f"        x = a[np.uint64(row + {i} * ai)]"]
        lines += [f"        s{i}_{j} = s{i}_{j} + x * b{j}" for j in columns]
    lines += [f"store(c, c{i} + {LANES * j}, s{i}_{j})" for i in range(rows) for j in columns]
    args = ["a", "at", "ai", "ar", "ak", "b", "bt", "bk", "c", "ct", "ci", "runs", "depth", "add"]
    return Scalar([*args, "near"] if ahead else args, lines, "None")


def dots(rows: int, columns: int, ahead: int = 0) -> Scalar:
    """Sums of products of ``rows`` rows of a with ``columns`` rows of b, both contiguous: c[i, j] = sum of a[i, k]
    b[j, k], or c plus it. A sum is a vector along k until the end, so that nothing is brought together first. With
    ``ahead`` it takes one more argument, a place in b: as long a piece of so many rows from there on is brought near.
    """
    places = [(i, j) for i in range(rows) for j in range(columns)]
    lines = [f"s{i}_{j} = fill(f32(0.0))" for i, j in places]
    for head, read in (
        ("for k in range(0, depth // LANES * LANES, LANES):", "load({}, {} + k)"),
        ("if depth % LANES:", "load_some({}, {} + depth // LANES * LANES, depth % LANES)"),
    ):
        lines.append(head)
        lines += [f"    a{i} = {read.format('a', f'at + {i} * ai')}" for i in range(rows)]
        if "for" in head:
            lines += [f"    prefetch(b, near + {j} * bj + k)" for j in range(ahead)]
        for j in range(columns):
            lines.append(f"    x = {read.format('b', f'bt + {j} * bj')}")
            lines += [f"    s{i}_{j} = s{i}_{j} + a{i} * x" for i in range(rows)]
    for i, j in places:
        place = f"c[np.uint64(ct + {i} * ci + {j})]"
        lines.append(f"{place} = total(s{i}_{j}) + ({place} if add else f32(0.0))")
    args = ["a", "at", "ai", "b", "bt", "bj", "c", "ct", "ci", "depth", "add"]
    return Scalar([*args, "near"] if ahead else args, lines, "None")


def vectors_for(columns: int) -> int:
    """Vectors of a block's rows: the most for which the columns are rounded up least."""
    vectors = -(-columns // LANES)
    few = max(ROWS) // 2  # blocks so narrow read more than they multiply
    return min(ROWS, key=lambda wide: (-(-vectors // wide) * wide * (1.0 if wide > few else 1.15), -wide))


def rows_for(count: int, vectors: int) -> int:
    """Rows of a block for which ``count`` is rounded up least; of equals the most."""
    return min(range(ROWS[vectors], 3, -1), key=lambda rows: -(-count // rows) * rows)
