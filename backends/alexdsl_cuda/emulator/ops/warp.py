"""Sync points: what a thread leaves in its mailbox before it waits, and what it finds there afterwards."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl_cuda.emulator.collectives import PRODUCTS, REDUCTIONS, SHUFFLES, VOTES
from alexdsl_cuda.emulator.emit import Emitter, accept, items, llvm_type
from alexdsl_cuda.emulator.flow import is_block_barrier
from alexdsl_cuda.emulator.ops.memory import inspected, shared_offset
from alexdsl_cuda.emulator.ptx import Address, Imm, Instruction, Operand
from alexdsl_cuda.emulator.schedule import ACTIVE, BLOCK, COUNT_SLOT, MASK_SLOT, TOTAL_SLOT, VOTES_SLOT, WARP

_ALL = Imm(0xFFFFFFFF)
_BARRIER_WORDS = ("sync", "red", "aligned", "cta", "popc", "and", "or")


def kind(i: Instruction) -> int:
    """The kind of sync point that an instruction is, for the scheduler."""
    if is_block_barrier(i):
        return BLOCK
    return ACTIVE if i.root == "activemask" else WARP


def post(e: Emitter, i: Instruction) -> None:
    """Leaves an instruction's operands in the mailbox."""
    if is_block_barrier(i):
        _post_barrier(e, i)
    elif i.root in ("bar", "barrier"):
        _put(e, MASK_SLOT, i.operands[0])
    elif i.root == "shfl":
        accept(i, "sync", *SHUFFLES)
        _post_values(e, i, i.operands[1:4])
    elif i.root in ("vote", "redux"):
        accept(i, "sync", *VOTES, "add", "min", "max", "and", "or", "xor")
        vote = e.read(i.operands[1], "pred") if i.root == "vote" else ""
        _store(e, 0, e.let(f"zext i1 {vote} to i32") if vote else e.read(i.operands[1], "b32"))
        _put(e, MASK_SLOT, i.operands[2])
    elif i.root == "mma":
        _post_product(e, i)
    elif i.root == "ldmatrix":
        _post_matrix(e, i)
    elif i.root != "activemask":
        raise i.refuse("it is not understood")


def fetch(e: Emitter, i: Instruction) -> None:
    """Takes an instruction's results from the mailbox."""
    if is_block_barrier(i):
        if "red" in i.mods:
            _fetch_barrier(e, i)
    elif i.root == "shfl":
        value, *valid = items(i.operands[0])
        e.write(value, _load(e, 4), "b32")
        if valid:
            e.write(valid[0], e.let(f"trunc i32 {_load(e, 5)} to i1"), "pred")
    elif i.root in ("vote", "redux", "activemask"):
        value_type = "pred" if i.types[-1] == "pred" else "b32"
        e.write(i.operands[0], e.resize(_load(e, 4), "i32", value_type), value_type)
    elif i.root in ("mma", "ldmatrix"):
        type = "f32" if i.root == "mma" else "b32"
        for k, target in enumerate(items(i.operands[0])):
            e.write(target, e.resize(_load(e, 8 + k), "i32", type), type)


def together(i: Instruction) -> str:
    """The call that does what a warp does together here."""
    mail, group = "ptr %mail", "i32 %group"
    if i.root == "shfl":
        return f"call void @shfl_{next(m for m in i.mods if m in SHUFFLES)}({mail}, {group})"
    if i.root == "vote":
        return f"call void @vote_{next(m for m in i.mods if m in VOTES)}({mail}, {group})"
    if i.root == "redux":
        name = i.mods[1] + (i.types[0][0] if i.mods[1] in ("min", "max") else "")
        if name not in REDUCTIONS:
            raise i.refuse("this reduction is not understood")
        return f"call void @redux_{name}({mail}, {group})"
    if i.root == "activemask":
        return f"call void @spread({mail}, {group}, {group})"
    if i.root == "mma":
        return f'call void @"mma.{_product(i)}"({mail})'
    if i.root == "ldmatrix":
        name = "ldmatrix_trans" if "trans" in i.mods else "ldmatrix"
        return f"call void @{name}({mail}, ptr %shared, i32 {_matrices(i)})"
    return ""


def _slot(e: Emitter, slot: int) -> str:
    mail = e.let(f"call ptr @mailbox(ptr {e.pointer('mail')}, i32 %t)")
    return e.let(f"getelementptr i8, ptr {mail}, i64 {128 * slot}")


def _store(e: Emitter, slot: int, value: str) -> None:
    e.do(f"store i32 {value}, ptr {_slot(e, slot)}")


def _load(e: Emitter, slot: int) -> str:
    return e.let(f"load i32, ptr {_slot(e, slot)}")


def _put(e: Emitter, slot: int, operand: Operand) -> None:
    _store(e, slot, e.read(operand, "b32"))


def _post_values(e: Emitter, i: Instruction, values: Sequence[Operand]) -> None:
    for slot, operand in enumerate(values):
        _put(e, slot, operand)
    _put(e, MASK_SLOT, i.operands[4])


def _post_barrier(e: Emitter, i: Instruction) -> None:
    accept(i, *_BARRIER_WORDS)
    given = list(i.operands)
    if "red" in i.mods:
        _store(e, VOTES_SLOT, e.let(f"zext i1 {e.read(given.pop(), 'pred')} to i32"))
        given.pop(0)
    else:
        _store(e, VOTES_SLOT, "0")
    _put(e, MASK_SLOT, given[0])
    _put(e, COUNT_SLOT, given[1] if len(given) > 1 else Imm(0))


def _fetch_barrier(e: Emitter, i: Instruction) -> None:
    votes = _load(e, VOTES_SLOT)
    if "popc" in i.mods:
        e.write(i.operands[0], votes, "u32")
    elif "or" in i.mods:
        e.write(i.operands[0], e.let(f"icmp ne i32 {votes}, 0"), "pred")
    else:
        e.write(i.operands[0], e.let(f"icmp eq i32 {votes}, {_load(e, TOTAL_SLOT)}"), "pred")


def _product(i: Instruction) -> str:
    accept(i, "sync", "aligned", "row", "col", *(name.split(".")[0] for name in PRODUCTS))
    shape = next((m for m in i.mods if m.startswith("m16")), "")
    name = f"{shape}.{i.types[1]}" if len(i.types) == 4 else ""
    if name not in PRODUCTS or i.types[1] != i.types[2] or (i.types[0], i.types[3]) != ("f32", "f32"):
        raise i.refuse("this shape or type is not understood")
    return name


def _post_product(e: Emitter, i: Instruction) -> None:
    _product(i)
    _, a, b, c = i.operands
    for first, group, type in ((0, a, "b32"), (4, b, "b32"), (8, c, "f32")):
        for k, item in enumerate(items(group)):
            _store(e, first + k, e.resize(e.read(item, type), llvm_type(type), "b32"))
    _put(e, MASK_SLOT, _ALL)


def _matrices(i: Instruction) -> int:
    return int(next(m for m in i.mods if m in ("x1", "x2", "x4"))[1:])


def _post_matrix(e: Emitter, i: Instruction) -> None:
    accept(i, "sync", "aligned", "m8n8", "x1", "x2", "x4", "trans", "shared", "shared::cta")
    address = i.operands[1]
    if not isinstance(address, Address):
        raise i.refuse("an address is missing")
    offset = shared_offset(e, i, address)
    if e.checks:
        # Only the first lanes' addresses are used: eight of each matrix.
        lane = e.let("and i32 %t, 31")
        used = e.let(f"icmp ult i32 {lane}, {8 * _matrices(i)}")
        good = inspected(e, i, offset, 16, "shared", used)
        offset = e.let(f"select i1 {good}, i64 {offset}, i64 0")
    _store(e, 0, e.let(f"trunc i64 {offset} to i32"))
    _put(e, MASK_SLOT, _ALL)
