"""Intrinsics of tensor cores: numbers to bf16, and products of two slabs of them (ldmatrix, mma.sync)."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from alexdsl_cuda.intrinsics.emit import FLOAT, INT, Emit, emitted, floats


def _halve(e: Emit) -> None:
    kept = e.floats("registers")
    numbers = e.read(kept, 8)
    asm = ir.InlineAsm(ir.FunctionType(INT, [FLOAT, FLOAT]), "cvt.rn.bf16x2.f32 $0, $1, $2;", "=r,f,f")
    for i in range(4):
        # The first operand becomes the upper half.
        pair = e.builder.call(asm, [numbers[2 * i + 1], numbers[2 * i]], attrs=("nounwind", "readnone"))
        e.builder.store(e.builder.bitcast(pair, FLOAT), e.beyond(kept, i))


@emitted(_halve)
def halve(registers: Any) -> None:
    """Eight registers to bf16, rounded to nearest even, in the bits of the first four."""
    bits = registers[:8].view(np.uint32)
    rounded = np.where(np.isnan(registers[:8]), 0x7FFF, bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype(np.uint32)
    bits[:4] = rounded[::2] | rounded[1::2] << 16


def _multiply_halves(e: Emit) -> None:
    high, wide, depth = (e.constant(name) for name in ("HIGH", "WIDE", "DEPTH"))
    turned, builder, kept = bool(e.constant("TURNED")), e.builder, e.floats("sums")
    sums = e.read(kept, high * wide // 32)
    words = ir.LiteralStructType([INT] * 4)
    four = ir.LiteralStructType([FLOAT] * 4)
    load = f"ldmatrix.sync.aligned.m8n8.x4{'.trans' if turned else ''}.shared.b16 {{$0, $1, $2, $3}}, [$4 + "
    product = (
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"
    )
    mma = ir.InlineAsm(
        ir.FunctionType(four, [INT] * 6 + [FLOAT] * 4), product, "=f,=f,=f,=f,r,r,r,r,r,r,0,1,2,3", side_effect=False
    )
    lane = builder.and_(e.integer("t"), INT(31))

    def bits(value: Any, first: int, mask: int) -> Any:
        return builder.and_(builder.lshr(value, INT(first)), INT(mask))

    def origin(first: Any, pitch: int, below: Any, beyond: Any) -> Any:
        """The float of a lane's part of a 16 x 16 block whose lines (columns, if turned) begin at ``first``: of the
        lower or upper eight lines, the first or last eight of the depth."""
        if turned:
            line = builder.add(builder.shl(beyond, INT(3)), bits(lane, 0, 7))
            chunk = builder.xor(builder.add(builder.lshr(first, INT(3)), below), bits(lane, 0, 7))
        else:
            line = builder.add(first, builder.add(builder.shl(below, INT(3)), bits(lane, 0, 7)))
            chunk = builder.xor(beyond, bits(lane, 1, 3))
        return builder.add(builder.mul(line, INT(pitch)), builder.shl(chunk, INT(2)))

    def blocks(size: str, first: str, ahead: int, count: int, k: int) -> list[list[Any]]:
        """The fragments of ``count`` blocks of 16 lines at a step of the depth, in the order of their registers: the
        left operand's lines alternate before its depth does, the right one's depth before its lines."""
        pitch = e.constant(size) // 2 if turned else depth // 2
        below, beyond = (3, 4) if size == "ROWS" else (4, 3)
        base, found = origin(e.integer(first), pitch, bits(lane, below, 1), bits(lane, beyond, 1)), []
        for i in range(count):
            over, on = (i, k) if turned else (k, i)
            place = builder.xor(base, INT(8 * over))
            address = e.shared("tile", place, e.integer("stage"))
            text = f"{load}{4 * (ahead + on * 16 * pitch)}];"
            asm = ir.InlineAsm(ir.FunctionType(words, [INT]), text, "=r,=r,=r,=r,r", side_effect=True)
            matrices = builder.call(asm, [address])
            found.append([builder.extract_value(matrices, j) for j in range(4)])
        return found

    slab = e.constant("ROWS") * depth // 2
    for k in range(depth // 16):
        left = blocks("ROWS", "row", 0, high // 16, k)
        right = blocks("COLUMNS", "column", slab, wide // 16, k)
        for i, a in enumerate(left):
            for j, b in enumerate(right):
                for side in range(2):
                    at = [(2 * i + h) * (wide // 4) + 4 * j + 2 * side + n for h in range(2) for n in range(2)]
                    given = [*a, b[2 * side], b[2 * side + 1], *(sums[place] for place in at)]
                    made = builder.call(mma, given, attrs=("nounwind", "readnone"))
                    for n, place in enumerate(at):
                        sums[place] = builder.extract_value(made, n)
    e.write(kept, sums)


@emitted(_multiply_halves)
def multiply_halves(
    sums: Any, tile: Any, t: int, row: int, column: int, stage: int, HIGH: int, WIDE: int, DEPTH: int, ROWS: int,
    COLUMNS: int, TURNED: bool,
) -> None:  # fmt: skip
    """The warp's sums[HIGH, WIDE] += the product of two slabs of bf16, at ``stage`` and behind its ROWS lines.

    A slab holds ROWS (COLUMNS) lines of DEPTH, or TURNED, DEPTH lines of ROWS (COLUMNS); the warp's own begin at
    ``row`` and ``column``. Chunks of eight are exchanged: chunk c of line n lies at c ^ (n // 2 % 4), TURNED at
    c ^ (n % 8). Of each 8 x 8 sums a thread has two neighbours in row lane // 4; it keeps them row by row.
    """
    flat, lane = floats(tile).view(np.uint16), int(t) % 32

    def lines(first: int, count: int, size: int, ahead: int) -> Any:
        index, k = np.arange(int(first), int(first) + count)[:, None], np.arange(DEPTH)
        if TURNED:
            places = k * size + (index // 8 ^ k % 8) * 8 + index % 8
        else:
            places = index * DEPTH + (k // 8 ^ index // 2 % 4) * 8 + k % 8
        return (flat[2 * (int(stage) + ahead) + places].astype(np.uint32) << 16).view(np.float32)

    total = lines(row, HIGH, ROWS, 0) @ lines(column, WIDE, COLUMNS, ROWS * DEPTH // 2).T
    mine = total[lane // 4 :: 8].reshape(HIGH // 8, WIDE // 8, 8)[:, :, 2 * (lane % 4) : 2 * (lane % 4) + 2]
    sums[: HIGH * WIDE // 32] += mine.ravel()


def _odd(e: Emit) -> Any:
    return e.builder.trunc(e.integer("t"), ir.IntType(1))


def _give_pairs(e: Emit) -> None:
    odd, place = _odd(e), e.place("tile", "at")
    for i in range(e.constant("COUNT") // 8):
        own = e.read(e.beyond(e.floats("sums"), 8 * i), 8)
        given = [e.builder.select(odd, own[first], own[first + 2]) for first in (0, 1, 4, 5)]
        e.write_quad(e.beyond(place, i * e.constant("PITCH")), given)


@emitted(_give_pairs)
def give_pairs(tile: Any, at: int, sums: Any, t: int, COUNT: int, PITCH: int) -> None:
    """Half of the sums to shared memory from ``at`` on, a quad every PITCH floats: of every quad of sums the second
    pair, or the first if ``t`` is odd."""
    for i, given in enumerate(sums[:COUNT].reshape(-1, 2, 2)[:, 1 - int(t) % 2].reshape(-1, 4)):
        first = int(at) + i * PITCH
        floats(tile)[first : first + 4] = given


def _take_pairs(e: Emit) -> None:
    odd, place = _odd(e), e.place("tile", "at")
    for i in range(e.constant("COUNT") // 8):
        kept = e.beyond(e.floats("sums"), 8 * i)
        own, taken = e.read(kept, 8), e.read_quad(e.beyond(place, i * e.constant("PITCH")))
        for j in range(8):
            other = taken[j // 4 * 2 + j % 2]
            own[j] = e.builder.select(odd, own[j], other) if j & 2 else e.builder.select(odd, other, own[j])
        e.write(kept, own)


@emitted(_take_pairs)
def take_pairs(sums: Any, tile: Any, at: int, t: int, COUNT: int, PITCH: int) -> None:
    """What ``give_pairs`` gave ``at`` that place to the pairs that this thread gave: then its quads are neighbours."""
    for i, pairs in enumerate(sums[:COUNT].reshape(-1, 2, 2, 2)):
        first = int(at) + i * PITCH
        pairs[:, 1 - int(t) % 2] = floats(tile)[first : first + 4].reshape(2, 2)
