"""A function's control flow: basic blocks, the points where threads wait for others, and which registers live on there.

Between two such points a thread runs alone, so a kernel is cut into regions: all that a thread can reach from the
kernel's start, or from behind one sync point, before it comes to the next. A region is what gets translated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from alexdsl_cuda.emulator.ptx import Address, Function, Group, Instruction, Not, Operand, Reg, Symbol

CARRY = "%carry"
"""The condition-code register, which ``add.cc`` and its like write and ``addc`` and its like read."""
_NO_RESULT = {
    "st", "red", "bra", "brx", "bar", "barrier", "ret", "exit", "trap", "cp", "prefetch", "prefetchu", "membar",
    "fence", "call", "stmatrix", "nanosleep", "brkpt", "discard", "applypriority", "pmevent",
}  # fmt: skip
_WARP_SYNC = {"shfl", "vote", "activemask", "mma", "ldmatrix", "stmatrix", "redux", "match"}


@dataclass
class Block:
    """Instructions in a row; only the last may jump, return or wait. ``next`` are the blocks that may follow."""

    index: int
    instructions: list[Instruction]
    next: list[int]


@dataclass(frozen=True)
class Region:
    """What runs from the kernel's start (number 0) or from behind sync point number - 1 up to any other sync point."""

    number: int
    start: int
    blocks: list[int]
    loads: list[str]
    """Registers that have a value already and are needed here."""
    stores: dict[int, list[str]]
    """By sync point that ends the region: the registers written here that are needed behind it."""


@dataclass(frozen=True)
class Flow:
    """A function cut up; ``syncs`` are its sync points in the order of the text."""

    blocks: list[Block]
    syncs: list[Instruction]
    regions: list[Region]


def is_block_barrier(i: Instruction) -> bool:
    """Whether all threads of a block meet here."""
    return i.root in ("bar", "barrier") and "warp" not in i.mods and "arrive" not in i.mods


def is_sync(i: Instruction) -> bool:
    """Whether a thread waits here for others: a barrier, or an instruction that a warp does together."""
    return i.root in _WARP_SYNC or (i.root in ("bar", "barrier") and "arrive" not in i.mods)


def _ends_block(i: Instruction) -> bool:
    return i.root in ("bra", "brx", "ret", "exit", "trap") or is_sync(i)


def registers(operand: Operand) -> Iterator[str]:
    """The registers that an operand names."""
    if isinstance(operand, Reg):
        if operand.name != "_":
            yield operand.name
    elif isinstance(operand, Not):
        yield operand.reg.name
    elif isinstance(operand, Address):
        yield from registers(operand.base)
    elif isinstance(operand, Group):
        for item in operand.items:
            yield from registers(item)


def results(i: Instruction) -> list[str]:
    """The registers that an instruction writes."""
    found = [CARRY] if "cc" in i.mods else []
    if i.operands and (i.root not in _NO_RESULT or (i.root in ("bar", "barrier") and "red" in i.mods)):
        found += registers(i.operands[0])
    return found


def operands(i: Instruction) -> list[str]:
    """The registers that an instruction reads, its guard among them."""
    found = [CARRY] if i.root in ("addc", "subc", "madc") else []
    skip = 1 if i.root not in _NO_RESULT or (i.root in ("bar", "barrier") and "red" in i.mods) else 0
    for operand in i.operands[skip:]:
        found += registers(operand)
    if i.guard is not None:
        found += registers(i.guard)
    return found


def targets(function: Function, i: Instruction) -> list[str]:
    """The labels a branch may jump to."""
    label = i.operands[-1]
    if not isinstance(label, Symbol):
        raise i.refuse("a jump to no label")
    return list(function.tables[label.name]) if i.root == "brx" else [label.name]


def analyse(function: Function) -> Flow:
    """Cuts a function into blocks and regions."""
    blocks = _blocks(function)
    syncs = [i for i in function.body if is_sync(i)]
    live = _live(blocks)
    starts = [0, *(block.index + 1 for block in blocks if block.instructions and is_sync(block.instructions[-1]))]
    regions = [_region(blocks, live, syncs, number, start) for number, start in enumerate(starts)]
    return Flow(blocks, syncs, regions)


def _blocks(function: Function) -> list[Block]:
    heads = {0, len(function.body), *function.labels.values()}
    heads |= {i.index + 1 for i in function.body if _ends_block(i)}
    order = sorted(heads)
    number = {head: k for k, head in enumerate(order)}
    blocks = []
    for k, head in enumerate(order):
        inside = function.body[head : order[k + 1]] if k + 1 < len(order) else []
        follow = [k + 1] if inside else []
        if inside and (last := inside[-1]).root in ("bra", "brx"):
            jumps = [number[function.labels[label]] for label in targets(function, last)]
            follow = jumps if last.guard is None else [*jumps, k + 1]
        elif inside and last.root in ("ret", "exit", "trap") and last.guard is None:
            follow = []
        blocks.append(Block(k, inside, follow))
    return blocks


def _live(blocks: list[Block]) -> list[set[str]]:
    """For each block the registers whose values are needed at its start."""
    needs, makes = [], []
    for block in blocks:
        need: set[str] = set()
        make: set[str] = set()
        for i in block.instructions:
            need |= set(operands(i)) - make
            if i.guard is None:
                make |= set(results(i))
        needs.append(need)
        makes.append(make)
    live = [set(need) for need in needs]
    changed = True
    while changed:
        changed = False
        for block in reversed(blocks):
            after = set[str]().union(*(live[k] for k in block.next))
            now = needs[block.index] | (after - makes[block.index])
            if now != live[block.index]:
                live[block.index] = now
                changed = True
    return live


def _region(blocks: list[Block], live: list[set[str]], syncs: list[Instruction], number: int, start: int) -> Region:
    """Blocks that a sync point ends are left through it only; a guarded one may also be passed by."""
    reach: dict[int, None] = {}
    todo = [start]
    while todo:
        block = blocks[todo.pop()]
        if block.index in reach:
            continue
        reach[block.index] = None
        last = block.instructions[-1] if block.instructions else None
        if last is None or not is_sync(last) or last.guard is not None:
            todo += block.next
    inside = [i for k in reach for i in blocks[k].instructions]
    # What a sync point gives is read from a mailbox where the next region starts, not made in the region that it ends.
    given = set(results(syncs[number - 1])) if number else set()
    made = given | _union(results(i) for i in inside if not is_sync(i))
    order = {i.index: k for k, i in enumerate(syncs)}
    stores = {}
    for k in reach:
        for end in blocks[k].instructions[-1:]:
            if is_sync(end):
                stores[order[end.index]] = sorted(made & (live[k + 1] - set(results(end))))
    loads = live[start] & (_union(operands(i) for i in inside) | _union(stores.values())) - given
    return Region(number, start, sorted(reach), sorted(loads), stores)


def _union(groups: Iterable[Iterable[str]]) -> set[str]:
    return {name for group in groups for name in group}
