"""LLVM IR that checked runs call at each access: whether memory may be touched there, and a log of what was touched.

A record of the log is 16 bytes: the address (in shared memory the offset), the site, and a word with the thread in its
low 16 bits, the bytes touched in the next 8, and flags.
"""

from __future__ import annotations

from alexdsl_cuda.emulator.schedule import place

OUTSIDE, MISALIGNED, SHARED = 1 << 31, 1 << 30, 1 << 29
"""Flags: no memory lies there, so the access was left out; the address is no multiple of the size; shared memory."""
RECORD_BYTES = 16
RELEASE = -1
"""The site of the record that says that a block's barrier let its threads go."""

WATCH = f"""
define internal void @note(ptr %ctx, i32 %site, i32 %word, i64 %address) noinline {{
  %count_at = getelementptr i8, ptr %ctx, i64 {place("logged")}
  %count = load i32, ptr %count_at
  %log_at = getelementptr i8, ptr %ctx, i64 {place("log")}
  %log = load ptr, ptr %log_at
  %wide = zext i32 %count to i64
  %offset = mul i64 %wide, {RECORD_BYTES}
  %record = getelementptr i8, ptr %log, i64 %offset
  store i64 %address, ptr %record
  %second = getelementptr i8, ptr %record, i64 8
  store i32 %site, ptr %second
  %third = getelementptr i8, ptr %record, i64 12
  store i32 %word, ptr %third
  %next = add i32 %count, 1
  store i32 %next, ptr %count_at
  %capacity_at = getelementptr i8, ptr %ctx, i64 {place("capacity")}
  %capacity = load i32, ptr %capacity_at
  %full = icmp uge i32 %next, %capacity
  br i1 %full, label %flush, label %out
flush:
  %flush_at = getelementptr i8, ptr %ctx, i64 {place("flush")}
  %function = load ptr, ptr %flush_at
  call void %function()
  store i32 0, ptr %count_at
  br label %out
out:
  ret void
}}

; Whether an access may be made; it is logged, with no bytes if it is not made. Spaces are 0, global, and 1, shared.
define internal i1 @inspect(ptr %ctx, i32 %site, i32 %t, i64 %at, i32 %size, i32 %space, i1 %when) noinline {{
entry:
  br i1 %when, label %asked, label %yes
yes:
  %left_out = shl i32 %space, 29
  %nothing = or i32 %t, %left_out
  call void @note(ptr %ctx, i32 %site, i32 %nothing, i64 %at)
  ret i1 true
asked:
  %wide = zext i32 %size to i64
  %end = add i64 %at, %wide
  %in_shared = icmp eq i32 %space, 1
  br i1 %in_shared, label %shared, label %global
shared:
  %limit_at = getelementptr i8, ptr %ctx, i64 {place("shared_bytes")}
  %limit32 = load i32, ptr %limit_at
  %limit = zext i32 %limit32 to i64
  %below = icmp ule i64 %end, %limit
  br label %decided
global:
  %list_at = getelementptr i8, ptr %ctx, i64 {place("allocations")}
  %list = load ptr, ptr %list_at
  %number_at = getelementptr i8, ptr %ctx, i64 {place("allocated")}
  %number = load i32, ptr %number_at
  br label %search
search:
  %k = phi i32 [0, %global], [%k_next, %next]
  %more = icmp ult i32 %k, %number
  br i1 %more, label %look, label %decided
look:
  %pair = shl i32 %k, 1
  %first_at = getelementptr i64, ptr %list, i32 %pair
  %first = load i64, ptr %first_at
  %last_at = getelementptr i64, ptr %first_at, i32 1
  %last = load i64, ptr %last_at
  %after = icmp uge i64 %at, %first
  %before = icmp ule i64 %end, %last
  %inside = and i1 %after, %before
  br i1 %inside, label %decided, label %next
next:
  %k_next = add i32 %k, 1
  br label %search
decided:
  %good = phi i1 [%below, %shared], [false, %search], [true, %look]
  %less = sub i32 %size, 1
  %odd = and i32 %size, %less
  %power = icmp eq i32 %odd, 0
  %mask = zext i32 %less to i64
  %rest = and i64 %at, %mask
  %crooked = icmp ne i64 %rest, 0
  %misaligned = and i1 %power, %crooked
  %bytes = shl i32 %size, 16
  %who = or i32 %t, %bytes
  %flag1 = select i1 %good, i32 0, i32 {OUTSIDE}
  %flag2 = select i1 %misaligned, i32 {MISALIGNED}, i32 0
  %flag3 = select i1 %in_shared, i32 {SHARED}, i32 0
  %w1 = or i32 %who, %flag1
  %w2 = or i32 %w1, %flag2
  %w3 = or i32 %w2, %flag3
  call void @note(ptr %ctx, i32 %site, i32 %w3, i64 %at)
  ret i1 %good
}}

; A generic address is one of shared memory, or of this thread's local memory, which is not watched, or a global one.
define internal i1 @inspect_generic(ptr %ctx, i32 %site, i32 %t, i64 %at, i32 %size, ptr %frame, i32 %frame_bytes) {{
  %shared_at = getelementptr i8, ptr %ctx, i64 {place("shared")}
  %shared = load ptr, ptr %shared_at
  %start = ptrtoint ptr %shared to i64
  %offset = sub i64 %at, %start
  %limit_at = getelementptr i8, ptr %ctx, i64 {place("shared_bytes")}
  %limit32 = load i32, ptr %limit_at
  %limit = zext i32 %limit32 to i64
  %in_shared = icmp ult i64 %offset, %limit
  br i1 %in_shared, label %shared_one, label %other
shared_one:
  %a = call i1 @inspect(ptr %ctx, i32 %site, i32 %t, i64 %offset, i32 %size, i32 1, i1 true)
  ret i1 %a
other:
  %own = ptrtoint ptr %frame to i64
  %inside = sub i64 %at, %own
  %bytes = zext i32 %frame_bytes to i64
  %local = icmp ult i64 %inside, %bytes
  br i1 %local, label %yes, label %global
yes:
  ret i1 true
global:
  %b = call i1 @inspect(ptr %ctx, i32 %site, i32 %t, i64 %at, i32 %size, i32 0, i1 true)
  ret i1 %b
}}
"""
