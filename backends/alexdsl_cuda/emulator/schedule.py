"""LLVM IR that runs blocks: each thread alone up to its next sync point, then what a warp or a block does together.

A thread's state is the region that it is to run next, or with the bit WAIT the sync point at which it waits, or -1
after its end. States of a block are padded with -1 to whole warps.
"""

from __future__ import annotations

from alexdsl_cuda.emulator.emit import CONTEXT, MAIL_BYTES, NUMBERS

WAIT = 1 << 16
WARP, BLOCK, ACTIVE = 1, 2, 3
"""Kinds of sync points: a warp's with a mask of members, a block's barrier, ``activemask``, which waits for nobody."""
MASK_SLOT, COUNT_SLOT, VOTES_SLOT, TOTAL_SLOT = 15, 14, 13, 12
"""Slots of a mailbox: a collective's members or a barrier's number, and a barrier's threads, votes and their total."""
STUCK_WARP, STUCK_BLOCK = 1, 2
"""Errors: threads of a warp, or of a block, wait for others that will not come."""


def place(name: str) -> int:
    """The byte at which a pointer or number lies in the context."""
    return 8 * CONTEXT.index(name) if name in CONTEXT else 8 * len(CONTEXT) + 4 * NUMBERS.index(name)


CONTEXT_BYTES = 8 * len(CONTEXT) + 4 * len(NUMBERS)

_SCHEDULER = """
; Runs a warp until all its threads wait at a barrier of the block or have ended.
define internal i32 @run_warp(ptr %ctx, i32 %warp) {
entry:
  %first = shl i32 %warp, 5
  %state_at = getelementptr i8, ptr %ctx, i64 $state
  %states = load ptr, ptr %state_at
  %own = getelementptr i32, ptr %states, i32 %first
  %mail_at = getelementptr i8, ptr %ctx, i64 $mail
  %mails = load ptr, ptr %mail_at
  %offset = mul i32 %warp, $mail_bytes
  %mail = getelementptr i8, ptr %mails, i32 %offset
  %masks = getelementptr i8, ptr %mail, i64 $mask_slot
  br label %round
round:
  br label %lanes
lanes:
  %lane = phi i32 [0, %round], [%lane_next, %advance]
  %lane_at = getelementptr i32, ptr %own, i32 %lane
  %lane_state = load i32, ptr %lane_at
  %ready = icmp ult i32 %lane_state, $wait
  br i1 %ready, label %step, label %advance
step:
  %region_at = getelementptr ptr, ptr @regions, i32 %lane_state
  %region = load ptr, ptr %region_at
  %thread = add i32 %first, %lane
  %after = call i32 %region(ptr %ctx, i32 %thread)
  store i32 %after, ptr %lane_at
  br label %advance
advance:
  %lane_next = add i32 %lane, 1
  %more = icmp ult i32 %lane_next, 32
  br i1 %more, label %lanes, label %gather
gather:
  %all = load <32 x i32>, ptr %own, align 4
  %ended = icmp eq <32 x i32> %all, splat (i32 -1)
  %dead = bitcast <32 x i1> %ended to i32
  %live = xor i32 %dead, -1
  br label %pick
pick:
  %left = phi i32 [%live, %gather], [%others, %skip]
  %stuck = phi i32 [0, %gather], [%stuck_next, %skip]
  %none = icmp eq i32 %left, 0
  br i1 %none, label %done, label %candidate
candidate:
  %chosen = call i32 @llvm.cttz.i32(i32 %left, i1 true)
  %chosen_at = getelementptr i32, ptr %own, i32 %chosen
  %waiting = load i32, ptr %chosen_at
  %one = insertelement <32 x i32> undef, i32 %waiting, i32 0
  %splat = shufflevector <32 x i32> %one, <32 x i32> undef, <32 x i32> zeroinitializer
  %same = icmp eq <32 x i32> %all, %splat
  %here = bitcast <32 x i1> %same to i32
  %away = xor i32 %here, -1
  %others = and i32 %left, %away
  %site = and i32 %waiting, 65535
  %kind_at = getelementptr i8, ptr @kinds, i32 %site
  %kind = load i8, ptr %kind_at
  switch i8 %kind, label %skip [i8 $warp_kind, label %members
                                i8 $active_kind, label %together]
members:
  %mask_at = getelementptr i32, ptr %masks, i32 %chosen
  %mask = load i32, ptr %mask_at
  %needed = and i32 %mask, %live
  %missing = and i32 %needed, %away
  %complete = icmp eq i32 %missing, 0
  %bit = shl i32 1, %chosen
  %belongs = and i32 %bit, %needed
  %member = icmp ne i32 %belongs, 0
  %go = and i1 %complete, %member
  br i1 %go, label %together, label %skip
skip:
  %counts = phi i32 [0, %candidate], [1, %members]
  %stuck_next = or i32 %stuck, %counts
  br label %pick
together:
  %group = phi i32 [%needed, %members], [%here, %candidate]
  call void @collect(i32 %site, ptr %ctx, ptr %mail, i32 %group, i32 %first)
  %resume = add i32 %site, 1
  br label %release
release:
  %rest = phi i32 [%group, %together], [%rest_next, %release]
  %freed = call i32 @llvm.cttz.i32(i32 %rest, i1 true)
  %freed_at = getelementptr i32, ptr %own, i32 %freed
  store i32 %resume, ptr %freed_at
  %below = sub i32 %rest, 1
  %rest_next = and i32 %rest, %below
  %again = icmp ne i32 %rest_next, 0
  br i1 %again, label %release, label %round
done:
  %error = mul i32 %stuck, $stuck_warp
  ret i32 %error
}

; Runs one block to its end. Barriers count the threads that have not ended.
define internal i32 @run_block(ptr %ctx) {
entry:
  %arrived = alloca [16 x i32]
  %voted = alloca [16 x i32]
  %wanted = alloca [16 x i32]
  %threads_at = getelementptr i8, ptr %ctx, i64 $threads
  %threads = load i32, ptr %threads_at
  %state_at = getelementptr i8, ptr %ctx, i64 $state
  %states = load ptr, ptr %state_at
  %mail_at = getelementptr i8, ptr %ctx, i64 $mail
  %mails = load ptr, ptr %mail_at
  %padded = add i32 %threads, 31
  %warps = lshr i32 %padded, 5
  %bytes32 = shl i32 %threads, 2
  %bytes = zext i32 %bytes32 to i64
  call void @llvm.memset.p0.i64(ptr %states, i8 0, i64 %bytes, i1 false)
  br label %interval
interval:
  br label %warp
warp:
  %w = phi i32 [0, %interval], [%w_next, %warp_done]
  %error = call i32 @run_warp(ptr %ctx, i32 %w)
  %failed = icmp ne i32 %error, 0
  br i1 %failed, label %fail, label %warp_done
warp_done:
  %w_next = add i32 %w, 1
  %w_more = icmp ult i32 %w_next, %warps
  br i1 %w_more, label %warp, label %count
count:
  call void @llvm.memset.p0.i64(ptr %arrived, i8 0, i64 64, i1 false)
  call void @llvm.memset.p0.i64(ptr %voted, i8 0, i64 64, i1 false)
  br label %arrival
arrival:
  %t = phi i32 [0, %count], [%t_next, %arrival_next]
  %alive = phi i32 [0, %count], [%alive_next, %arrival_next]
  %t_at = getelementptr i32, ptr %states, i32 %t
  %t_state = load i32, ptr %t_at
  %t_live = icmp ne i32 %t_state, -1
  br i1 %t_live, label %arrives, label %arrival_next
arrives:
  %t_mail = call ptr @mailbox(ptr %mails, i32 %t)
  %id_at = getelementptr i8, ptr %t_mail, i64 $mask_slot
  %id_full = load i32, ptr %id_at
  %id = and i32 %id_full, 15
  %need_at = getelementptr i8, ptr %t_mail, i64 $count_slot
  %need = load i32, ptr %need_at
  %vote_at = getelementptr i8, ptr %t_mail, i64 $votes_slot
  %vote = load i32, ptr %vote_at
  %wanted_at = getelementptr i32, ptr %wanted, i32 %id
  store i32 %need, ptr %wanted_at
  %arrived_at = getelementptr i32, ptr %arrived, i32 %id
  %a0 = load i32, ptr %arrived_at
  %a1 = add i32 %a0, 1
  store i32 %a1, ptr %arrived_at
  %voted_at = getelementptr i32, ptr %voted, i32 %id
  %v0 = load i32, ptr %voted_at
  %v1 = add i32 %v0, %vote
  store i32 %v1, ptr %voted_at
  br label %arrival_next
arrival_next:
  %one = phi i32 [0, %arrival], [1, %arrives]
  %alive_next = add i32 %alive, %one
  %t_next = add i32 %t, 1
  %t_more = icmp ult i32 %t_next, %threads
  br i1 %t_more, label %arrival, label %counted
counted:
  %finished = icmp eq i32 %alive_next, 0
  br i1 %finished, label %end, label %releases
releases:
  %r = phi i32 [0, %counted], [%r_next, %release_next]
  %freed = phi i32 [0, %counted], [%freed_next, %release_next]
  %r_at = getelementptr i32, ptr %states, i32 %r
  %r_state = load i32, ptr %r_at
  %r_live = icmp ne i32 %r_state, -1
  br i1 %r_live, label %check, label %release_next
check:
  %r_mail = call ptr @mailbox(ptr %mails, i32 %r)
  %r_id_at = getelementptr i8, ptr %r_mail, i64 $mask_slot
  %r_id_full = load i32, ptr %r_id_at
  %r_id = and i32 %r_id_full, 15
  %r_wanted_at = getelementptr i32, ptr %wanted, i32 %r_id
  %r_wanted = load i32, ptr %r_wanted_at
  %r_whole = icmp eq i32 %r_wanted, 0
  %r_need = select i1 %r_whole, i32 %alive_next, i32 %r_wanted
  %r_arrived_at = getelementptr i32, ptr %arrived, i32 %r_id
  %r_arrived = load i32, ptr %r_arrived_at
  %r_go = icmp eq i32 %r_arrived, %r_need
  br i1 %r_go, label %free, label %release_next
free:
  %r_voted_at = getelementptr i32, ptr %voted, i32 %r_id
  %r_voted = load i32, ptr %r_voted_at
  %r_votes = getelementptr i8, ptr %r_mail, i64 $votes_slot
  store i32 %r_voted, ptr %r_votes
  %r_total = getelementptr i8, ptr %r_mail, i64 $total_slot
  store i32 %r_arrived, ptr %r_total
  %r_site = and i32 %r_state, 65535
  %r_resume = add i32 %r_site, 1
  store i32 %r_resume, ptr %r_at
  br label %release_next
release_next:
  %r_one = phi i32 [0, %releases], [0, %check], [1, %free]
  %freed_next = add i32 %freed, %r_one
  %r_next = add i32 %r, 1
  %r_more = icmp ult i32 %r_next, %threads
  br i1 %r_more, label %releases, label %released
released:
  $barrier_hook
  %moved = icmp ne i32 %freed_next, 0
  br i1 %moved, label %interval, label %fail
fail:
  %code = phi i32 [%error, %warp], [$stuck_block, %released]
  ret i32 %code
end:
  ret i32 0
}

define internal ptr @mailbox(ptr %mails, i32 %t) alwaysinline {
  %warp = lshr i32 %t, 5
  %offset = mul i32 %warp, $mail_bytes
  %mail = getelementptr i8, ptr %mails, i32 %offset
  %lane = and i32 %t, 31
  %own = getelementptr i32, ptr %mail, i32 %lane
  ret ptr %own
}

; Runs the blocks from first to last - 1, counted with x fastest.
define i32 @run(ptr %ctx, i64 %first, i64 %last) {
entry:
  %saved = alloca i32
  %plain = alloca i32
  $save
  %nx_at = getelementptr i8, ptr %ctx, i64 ${nctaid.x}
  %nx32 = load i32, ptr %nx_at
  %nx = zext i32 %nx32 to i64
  %ny_at = getelementptr i8, ptr %ctx, i64 ${nctaid.y}
  %ny32 = load i32, ptr %ny_at
  %ny = zext i32 %ny32 to i64
  %x_at = getelementptr i8, ptr %ctx, i64 ${ctaid.x}
  %y_at = getelementptr i8, ptr %ctx, i64 ${ctaid.y}
  %z_at = getelementptr i8, ptr %ctx, i64 ${ctaid.z}
  br label %block
block:
  %b = phi i64 [%first, %entry], [%b_next, %good]
  %x = urem i64 %b, %nx
  %row = udiv i64 %b, %nx
  %y = urem i64 %row, %ny
  %z = udiv i64 %row, %ny
  %x32 = trunc i64 %x to i32
  %y32 = trunc i64 %y to i32
  %z32 = trunc i64 %z to i32
  store i32 %x32, ptr %x_at
  store i32 %y32, ptr %y_at
  store i32 %z32, ptr %z_at
  %error = call i32 @run_block(ptr %ctx)
  %bad = icmp ne i32 %error, 0
  br i1 %bad, label %out, label %good
good:
  %b_next = add i64 %b, 1
  %more = icmp slt i64 %b_next, %last
  br i1 %more, label %block, label %out
out:
  $restore
  ret i32 %error
}
"""

# Denormals are kept and rounding is to nearest, whatever the calling thread has set.
_X86_SAVE = """call void @llvm.x86.sse.stmxcsr(ptr %saved)
  store i32 8064, ptr %plain
  call void @llvm.x86.sse.ldmxcsr(ptr %plain)"""
_X86_RESTORE = "call void @llvm.x86.sse.ldmxcsr(ptr %saved)"


def scheduler(kinds: list[int], *, x86: bool, checks: bool) -> str:
    """The IR of ``run`` for a kernel with sync points of these kinds; ``@region_0`` and up are its regions."""
    count = len(kinds)
    text = _SCHEDULER
    for name, value in {
        "barrier_hook": "call void @note(ptr %ctx, i32 -1, i32 0, i64 0)" if checks else "",
        "save": _X86_SAVE if x86 else "",
        "restore": _X86_RESTORE if x86 else "",
        "mail_bytes": MAIL_BYTES,
        "mask_slot": MASK_SLOT * 128,
        "count_slot": COUNT_SLOT * 128,
        "votes_slot": VOTES_SLOT * 128,
        "total_slot": TOTAL_SLOT * 128,
        "warp_kind": WARP,
        "active_kind": ACTIVE,
        "stuck_warp": STUCK_WARP,
        "stuck_block": STUCK_BLOCK,
        "wait": WAIT,
        "state": place("state"),
        "mail": place("mail"),
        "threads": place("threads"),
        **{f"{{{name}}}": place(name) for name in NUMBERS},
    }.items():
        text = text.replace(f"${name}", str(value))
    regions = ", ".join(f"ptr @region_{k}" for k in range(count + 1))
    listed = ", ".join(f"i8 {kind}" for kind in [*kinds, 0])
    return (
        f"@regions = internal constant [{count + 1} x ptr] [{regions}]\n"
        f"@kinds = internal constant [{count + 1} x i8] [{listed}]\n{text}"
    )
