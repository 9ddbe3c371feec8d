"""LLVM IR of what a warp does together, on its mailbox: shuffles, votes, reductions, matrices.

A mailbox has 16 slots of 32 words, one for each lane. Lanes put their operands into slots 0 to 3 and find results from
slot 4 on; matrix products take A in 0 to 3, B in 4 and 5, C in 8 to 11, and leave D in 8 to 11; ``ldmatrix`` leaves its
registers in 8 to 11. Matrix products are computed in f32, by one fused multiply-add after the other along k; the
hardware's order and inner width are not documented.
"""

from __future__ import annotations

from collections.abc import Callable

SHUFFLES = ("up", "down", "bfly", "idx")
VOTES = ("all", "any", "uni", "ballot")
REDUCTIONS = {
    "add": ("add", "0"), "and": ("and", "-1"), "or": ("or", "0"), "xor": ("xor", "0"),
    "mins": ("smin", "2147483647"), "maxs": ("smax", "-2147483648"), "minu": ("umin", "-1"), "maxu": ("umax", "0"),
}  # fmt: skip


def collectives() -> str:
    """All functions; each takes the mailbox and the lanes that take part."""
    parts = [_SPREAD, *map(_shuffle, SHUFFLES), *map(_vote, VOTES), *(_reduce(*item) for item in REDUCTIONS.items())]
    parts += [_matrix(trans) for trans in (False, True)]
    return "".join([*parts, *(_product(name) for name in PRODUCTS)])


_SPREAD = """
; Writes a value to slot 4 of the lanes of a group.
define internal void @spread(ptr %mail, i32 %group, i32 %value) alwaysinline {
  %at = getelementptr i8, ptr %mail, i64 512
  %old = load <32 x i32>, ptr %at, align 4
  %one = insertelement <32 x i32> undef, i32 %value, i32 0
  %all = shufflevector <32 x i32> %one, <32 x i32> undef, <32 x i32> zeroinitializer
  %lanes = bitcast i32 %group to <32 x i1>
  %new = select <32 x i1> %lanes, <32 x i32> %all, <32 x i32> %old
  store <32 x i32> %new, ptr %at, align 4
  ret void
}
"""


def _shuffle(mode: str) -> str:
    """A lane whose source is out of range, or takes no part (which PTX leaves open), keeps its own value."""
    source = {
        "up": "%j = sub i32 %lane, %by\n  %valid = icmp sge i32 %j, %most",
        "down": "%j = add i32 %lane, %by\n  %valid = icmp sle i32 %j, %most",
        "bfly": "%j = xor i32 %lane, %by\n  %valid = icmp sle i32 %j, %most",
        "idx": "%inside = and i32 %by, %free\n  %j = or i32 %least, %inside\n  %valid = icmp sle i32 %j, %most",
    }[mode]
    return f"""
define internal void @shfl_{mode}(ptr %mail, i32 %group) {{
entry:
  br label %each
each:
  %lane = phi i32 [0, %entry], [%next, %each]
  %own = getelementptr i32, ptr %mail, i32 %lane
  %b_at = getelementptr i8, ptr %own, i64 128
  %b = load i32, ptr %b_at
  %c_at = getelementptr i8, ptr %own, i64 256
  %c = load i32, ptr %c_at
  %by = and i32 %b, 31
  %clamp = and i32 %c, 31
  %high = lshr i32 %c, 8
  %segment = and i32 %high, 31
  %free = xor i32 %segment, 31
  %least = and i32 %lane, %segment
  %limit = and i32 %clamp, %free
  %most = or i32 %least, %limit
  {source}
  %chosen = select i1 %valid, i32 %j, i32 %lane
  %taking = lshr i32 %group, %chosen
  %takes = trunc i32 %taking to i1
  %from = select i1 %takes, i32 %chosen, i32 %lane
  %from_at = getelementptr i32, ptr %mail, i32 %from
  %value = load i32, ptr %from_at
  %d_at = getelementptr i8, ptr %own, i64 512
  store i32 %value, ptr %d_at
  %p = zext i1 %valid to i32
  %p_at = getelementptr i8, ptr %own, i64 640
  store i32 %p, ptr %p_at
  %next = add i32 %lane, 1
  %more = icmp ult i32 %next, 32
  br i1 %more, label %each, label %out
out:
  ret void
}}
"""


def _vote(mode: str) -> str:
    result = {
        "ballot": "%value = and i32 %votes, %group",
        "all": "%is = icmp eq i32 %ours, %group\n  %value = zext i1 %is to i32",
        "any": "%is = icmp ne i32 %ours, 0\n  %value = zext i1 %is to i32",
        "uni": "%every = icmp eq i32 %ours, %group\n  %none = icmp eq i32 %ours, 0\n"
        "  %is = or i1 %every, %none\n  %value = zext i1 %is to i32",
    }[mode]
    return f"""
define internal void @vote_{mode}(ptr %mail, i32 %group) {{
  %given = load <32 x i32>, ptr %mail, align 4
  %yes = icmp ne <32 x i32> %given, zeroinitializer
  %votes = bitcast <32 x i1> %yes to i32
  %ours = and i32 %votes, %group
  {result}
  call void @spread(ptr %mail, i32 %group, i32 %value)
  ret void
}}
"""


def _reduce(name: str, how: tuple[str, str]) -> str:
    reduction, neutral = how
    return f"""
define internal void @redux_{name}(ptr %mail, i32 %group) {{
  %given = load <32 x i32>, ptr %mail, align 4
  %lanes = bitcast i32 %group to <32 x i1>
  %ours = select <32 x i1> %lanes, <32 x i32> %given, <32 x i32> splat (i32 {neutral})
  %value = call i32 @llvm.vector.reduce.{reduction}.v32i32(<32 x i32> %ours)
  call void @spread(ptr %mail, i32 %group, i32 %value)
  ret void
}}
"""


def _matrix(trans: bool) -> str:
    """``ldmatrix``: lane 8m + r names row r of matrix m, 8 halves; lane 4g + q gets two of row g, or of column g."""
    if trans:
        taken = """%low_row = shl i32 %q, 1
  %high_row = or i32 %low_row, 1
  %low = call i32 @matrix_half(ptr %mail, ptr %shared, i32 %m, i32 %low_row, i32 %g)
  %high = call i32 @matrix_half(ptr %mail, ptr %shared, i32 %m, i32 %high_row, i32 %g)"""
    else:
        taken = """%low_column = shl i32 %q, 1
  %high_column = or i32 %low_column, 1
  %low = call i32 @matrix_half(ptr %mail, ptr %shared, i32 %m, i32 %g, i32 %low_column)
  %high = call i32 @matrix_half(ptr %mail, ptr %shared, i32 %m, i32 %g, i32 %high_column)"""
    helper = """
define internal i32 @matrix_half(ptr %mail, ptr %shared, i32 %m, i32 %row, i32 %column) alwaysinline {
  %first = shl i32 %m, 3
  %lane = add i32 %first, %row
  %at = getelementptr i32, ptr %mail, i32 %lane
  %offset = load i32, ptr %at
  %start = getelementptr i8, ptr %shared, i32 %offset
  %place = getelementptr i16, ptr %start, i32 %column
  %bits = load i16, ptr %place
  %value = zext i16 %bits to i32
  ret i32 %value
}
"""
    return f"""{"" if trans else helper}
define internal void @ldmatrix{"_trans" if trans else ""}(ptr %mail, ptr %shared, i32 %count) {{
entry:
  br label %matrix
matrix:
  %m = phi i32 [0, %entry], [%m_next, %matrix_done]
  br label %each
each:
  %lane = phi i32 [0, %matrix], [%next, %each]
  %g = lshr i32 %lane, 2
  %q = and i32 %lane, 3
  {taken}
  %above = shl i32 %high, 16
  %both = or i32 %above, %low
  %slot = add i32 %m, 8
  %line = shl i32 %slot, 5
  %word = add i32 %line, %lane
  %to = getelementptr i32, ptr %mail, i32 %word
  store i32 %both, ptr %to
  %next = add i32 %lane, 1
  %more = icmp ult i32 %next, 32
  br i1 %more, label %each, label %matrix_done
matrix_done:
  %m_next = add i32 %m, 1
  %m_more = icmp ult i32 %m_next, %count
  br i1 %m_more, label %matrix, label %out
out:
  ret void
}}
"""


PRODUCTS = {
    f"m16n8k{k}.{type}": (type, k) for type, ks in (("bf16", (8, 16)), ("f16", (8, 16)), ("tf32", (4, 8))) for k in ks
}
"""The matrix products: shape and type of A and B; C and D are f32."""


def _product(name: str) -> str:
    """A is 16 x k, B k x 8; lane 4g + q holds rows g and g + 8 of A, column g of B, and of C columns 2q and 2q + 1."""
    type, k = PRODUCTS[name]
    halves = type != "tf32"
    lines: list[str] = []
    count = 0

    def let(text: str) -> str:
        nonlocal count
        count += 1
        lines.append(f"  %v{count} = {text}")
        return f"%v{count}"

    def store(value: str, array: str, row: str, column: str, width: int) -> None:
        word = let(f"add i32 {let(f'mul i32 {row}, {width}')}, {column}")
        lines.append(f"  store float {value}, ptr {let(f'getelementptr float, ptr {array}, i32 {word}')}")

    def numbers(slot: int) -> list[str]:
        """The floats in a slot of this lane: two halves, or one cut to tf32."""
        at = let(f"getelementptr i8, ptr %own, i64 {128 * slot}")
        word = let(f"load i32, ptr {at}")
        if type == "tf32":
            return [let(f"bitcast i32 {let(f'and i32 {word}, -8192')} to float")]
        if type == "bf16":
            low, high = let(f"shl i32 {word}, 16"), let(f"and i32 {word}, -65536")
            return [let(f"bitcast i32 {bits} to float") for bits in (low, high)]
        parts = [word, let(f"lshr i32 {word}, 16")]
        bits = [let(f"trunc i32 {part} to i16") for part in parts]
        return [let(f"fpext half {let(f'bitcast i16 {b} to half')} to float") for b in bits]

    def column(base: int, part: int) -> str:
        """Where in k a register's half lies: 2q + part in steps of eight, or q in steps of four."""
        first = let("shl i32 %q, 1") if halves else "%q"
        return let(f"add i32 {first}, {base * (8 if halves else 4) + part}")

    below = let("add i32 %g, 8")
    steps = k // (8 if halves else 4)
    for step in range(steps):
        for half in range(2):
            for part, value in enumerate(numbers(2 * step + half)):
                store(value, "%a", below if half else "%g", column(step, part), k)
        for part, value in enumerate(numbers(4 + step)):
            store(value, "%b", column(step, part), "%g", 8)
    unpack = "\n".join(lines)
    lines.clear()
    _accumulators(let, lines.append, below=let("add i32 %g2, 8"), put=False)
    take = "\n".join(lines)
    lines.clear()
    _accumulators(let, lines.append, below=let("add i32 %g3, 8"), put=True)
    give = "\n".join(lines)
    return f"""
define internal void @"mma.{name}"(ptr %mail) {{
entry:
  %a = alloca [{16 * k} x float], align 32
  %b = alloca [{8 * k} x float], align 32
  %c = alloca [128 x float], align 32
  br label %unpack
unpack:
  %lane = phi i32 [0, %entry], [%next, %unpack]
  %own = getelementptr i32, ptr %mail, i32 %lane
  %g = lshr i32 %lane, 2
  %q = and i32 %lane, 3
{unpack}
  %own2 = getelementptr i8, ptr %own, i64 1024
  %g2 = lshr i32 %lane, 2
  %q2 = and i32 %lane, 3
{take.replace("%own_", "%own2").replace("%q_", "%q2").replace("%g_", "%g2")}
  %next = add i32 %lane, 1
  %more = icmp ult i32 %next, 32
  br i1 %more, label %unpack, label %rows
rows:
  %row = phi i32 [0, %unpack], [%row_next, %row_done]
  %a_first = mul i32 %row, {k}
  %a_row = getelementptr float, ptr %a, i32 %a_first
  %c_first = shl i32 %row, 3
  %c_row = getelementptr float, ptr %c, i32 %c_first
  %start = load <8 x float>, ptr %c_row
  br label %sum
sum:
  %k = phi i32 [0, %rows], [%k_next, %sum]
  %acc = phi <8 x float> [%start, %rows], [%acc_next, %sum]
  %x_at = getelementptr float, ptr %a_row, i32 %k
  %x = load float, ptr %x_at
  %x_one = insertelement <8 x float> undef, float %x, i32 0
  %x_all = shufflevector <8 x float> %x_one, <8 x float> undef, <8 x i32> zeroinitializer
  %b_first = shl i32 %k, 3
  %b_at = getelementptr float, ptr %b, i32 %b_first
  %b_row = load <8 x float>, ptr %b_at
  %acc_next = call <8 x float> @llvm.fma.v8f32(<8 x float> %x_all, <8 x float> %b_row, <8 x float> %acc)
  %k_next = add i32 %k, 1
  %k_more = icmp ult i32 %k_next, {k}
  br i1 %k_more, label %sum, label %row_done
row_done:
  store <8 x float> %acc_next, ptr %c_row
  %row_next = add i32 %row, 1
  %row_more = icmp ult i32 %row_next, 16
  br i1 %row_more, label %rows, label %pack
pack:
  %lane3 = phi i32 [0, %row_done], [%next3, %pack]
  %own3_ = getelementptr i32, ptr %mail, i32 %lane3
  %own3 = getelementptr i8, ptr %own3_, i64 1024
  %g3 = lshr i32 %lane3, 2
  %q3 = and i32 %lane3, 3
{give.replace("%own_", "%own3").replace("%q_", "%q3").replace("%g_", "%g3")}
  %next3 = add i32 %lane3, 1
  %more3 = icmp ult i32 %next3, 32
  br i1 %more3, label %pack, label %out
out:
  ret void
}}
"""


def _accumulators(let: Callable[[str], str], add: Callable[[str], None], below: str, *, put: bool) -> None:
    """Copies this lane's four accumulators between the mailbox and the array of C."""
    for slot in range(4):
        row = below if slot >= 2 else "%g_"
        first = let(f"add i32 {let('shl i32 %q_, 1')}, {slot % 2}")
        word = let(f"add i32 {let(f'shl i32 {row}, 3')}, {first}")
        inside = let(f"getelementptr float, ptr %c, i32 {word}")
        outside = let(f"getelementptr i8, ptr %own_, i64 {128 * slot}")
        source, target = (inside, outside) if put else (outside, inside)
        add(f"  store float {let(f'load float, ptr {source}')}, ptr {target}")
