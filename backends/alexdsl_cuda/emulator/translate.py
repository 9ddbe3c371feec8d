"""A kernel as one LLVM module: a function for each region and each function called, and what schedules them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from alexdsl_cuda.emulator.emit import Emitter, Storage, local_variables, storage
from alexdsl_cuda.emulator.flow import CARRY, Block, Flow, Region, analyse, is_sync, operands, results, targets
from alexdsl_cuda.emulator.library import needed
from alexdsl_cuda.emulator.ops import OPS, warp
from alexdsl_cuda.emulator.ops.control import callee
from alexdsl_cuda.emulator.ptx import Function, Instruction, Program, PtxError, Variable, layout
from alexdsl_cuda.emulator.schedule import WAIT, place, scheduler

TRAPPED = 3
"""The error of a ``trap``."""


@dataclass
class Translation:
    """A kernel's LLVM IR and what a launch must provide for it; sizes in bytes.

    ``sites`` are the instructions by the numbers under which checked runs report them; ``counters`` says for each
    counter of a checked run which of them it counts.
    """

    text: str = ""
    register_bytes: int = 0
    local_bytes: int = 0
    static_shared: int = 0
    sites: list[tuple[str, Instruction]] = field(default_factory=list)
    counters: list[list[int]] = field(default_factory=list)


def static_shared(program: Program, function: Function) -> list[Variable]:
    """The variables in shared memory that a kernel may use."""
    variables = [*program.variables.values(), *function.variables.values()]
    return [v for v in variables if v.space == "shared"]


def translate(program: Program, entry: str, globals: Mapping[str, int], *, checks: bool, x86: bool) -> Translation:
    """Translates a kernel. ``globals`` are the host addresses of the program's global and constant variables.

    Raises ``PtxError`` for instructions that are not understood and for calls of functions that the text does not have.
    """
    made = Translation()
    function = program.functions[entry]
    variables = static_shared(program, function)
    offsets, made.static_shared = layout(variables)
    symbols = {name: (program.variables[name].space, at) for name, at in globals.items()}
    symbols |= {name: ("shared", at) for name, at in offsets.items()}
    symbols["%static"] = ("", made.static_shared)
    parts = [_function(program.functions[name], symbols, made, checks) for name in _called(program, function)]
    text = "\n".join([*parts, _kernel(function, symbols, made, checks, x86)])
    made.text = f"{needed(text)}\n{text}\n!0 = !{{}}\n"
    return made


def _called(program: Program, function: Function) -> list[str]:
    """The functions that a kernel calls, directly or not."""
    found: list[str] = []
    todo = [function]
    while todo:
        for i in todo.pop().body:
            if i.root == "call" and (name := callee(i)) not in found:
                if name not in program.functions:
                    raise i.refuse(f"'{name}' is not in the PTX text, and the emulator has no library")
                found.append(name)
                todo.append(program.functions[name])
    return found


def _emitter(
    function: Function, kept: Storage, symbols: Mapping[str, tuple[str, int]], made: Translation, checks: bool
) -> Emitter:
    local, _ = layout(local_variables(function))
    own = {**symbols, **{name: ("local", at) for name, at in local.items()}}
    return Emitter(function, kept, own, checks=checks, base=len(made.sites))


def _function(function: Function, symbols: Mapping[str, tuple[str, int]], made: Translation, checks: bool) -> str:
    flow = analyse(function)
    if flow.syncs:
        raise flow.syncs[0].refuse("a function that is called may not wait for other threads")
    e = _emitter(function, storage(function, set()), symbols, made, checks)
    made.sites += [(function.name, i) for i in function.body]
    _, size = layout(local_variables(function))
    returns = [f"ptr %r{k}" for k in range(len(function.returns))]
    listed = ", ".join(
        ["ptr %ctx", "i32 %t", "ptr %shared", *returns, *(f"ptr %a{k}" for k in range(len(function.params)))]
    )
    e.lines.append(f'define internal void @"func.{function.name}"({listed}) nounwind {{')
    e.lines.append(f"  %frame = alloca [{max(size, 1)} x i8], align 16")
    _body(e, flow, flow.regions[0], made)
    return "\n".join([*e.lines, "}"])


def _kernel(
    function: Function, symbols: Mapping[str, tuple[str, int]], made: Translation, checks: bool, x86: bool
) -> str:
    flow = analyse(function)
    kept = storage(function, {name for r in flow.regions for names in (r.loads, *r.stores.values()) for name in names})
    made.register_bytes = kept.size
    _, size = layout(local_variables(function))
    made.local_bytes = -(-size // 64) * 64
    parts = []
    e = _emitter(function, kept, symbols, made, checks)
    made.sites += [(function.name, i) for i in function.body]
    for region in flow.regions:
        e.lines.clear()
        e.lines.append(f"define internal i32 @region_{region.number}(ptr %ctx, i32 %t) nounwind {{")
        for name in ("params", "shared"):
            e.lines.append(f"  %{name}.at = getelementptr i8, ptr %ctx, i64 {place(name)}")
            e.lines.append(f"  %{name} = load ptr, ptr %{name}.at, !invariant.load !0")
        if size and flow.syncs:
            offset = e.let(f"mul i32 %t, {made.local_bytes}")
            e.do(f"%frame = getelementptr i8, ptr {e.pointer('local')}, i32 {offset}")
        else:
            e.do(f"%frame = alloca [{max(size, 1)} x i8], align 16")
        if kept.size:
            offset = e.let(f"mul i32 %t, {kept.size}")
            e.do(f"%kept = getelementptr i8, ptr {e.pointer('registers')}, i32 {offset}")
        _body(e, flow, region, made)
        parts.append("\n".join([*e.lines, "}"]))
    cases = "\n".join(f"    i32 {k}, label %site{k}" for k in range(len(flow.syncs)))
    bodies = "\n".join(f"site{k}:\n  {warp.together(i)}\n  ret void" for k, i in enumerate(flow.syncs))
    parts.append(
        "define internal void @collect(i32 %site, ptr %ctx, ptr %mail, i32 %group, i32 %first) {\n"
        f"  %shared.at = getelementptr i8, ptr %ctx, i64 {place('shared')}\n"
        "  %shared = load ptr, ptr %shared.at\n"
        f"  switch i32 %site, label %none [\n{cases}\n  ]\nnone:\n  ret void\n{bodies}\n}}"
    )
    parts.append(scheduler([warp.kind(i) for i in flow.syncs], x86=x86, checks=checks))
    return "\n".join(parts)


def _body(e: Emitter, flow: Flow, region: Region, made: Translation) -> None:
    """The registers' stack slots, and the region's blocks."""
    inside = [i for k in region.blocks for i in flow.blocks[k].instructions]
    before = flow.syncs[region.number - 1] if region.number else None
    named = {name for i in inside for name in (*operands(i), *results(i))} | set(region.loads) | {CARRY}
    if before is not None:
        named |= set(results(before))
    for name in sorted(named):
        kept = e.storage.types.get(name)
        if kept is None:
            raise PtxError(f"the register '{name}' is not declared")
        e.do(f"{e.register(name)} = alloca {kept}")
        if name in region.loads:
            value = e.let(f"load {kept}, ptr {_slot(e, name)}")
        else:
            value = "0.0" if kept in ("float", "double") else "0"
        e.do(f"store {kept} {value}, ptr {e.register(name)}")
    for variable in e.function.variables.values():
        if variable.space == "param":
            e.do(f'%"param.{variable.name}" = alloca [{variable.size} x i8], align 16')
    if before is not None:
        warp.fetch(e, before)
    e.do(f"br label %b{region.start}")
    for k in region.blocks:
        _block(e, flow, region, flow.blocks[k], made)


def _slot(e: Emitter, name: str) -> str:
    return e.let(f"getelementptr i8, ptr %kept, i32 {e.storage.slots[name]}")


def _count(e: Emitter, made: Translation, instructions: list[Instruction]) -> None:
    """Counts the instructions' executions, in a checked run."""
    if not e.checks or not instructions:
        return
    sites = [e.base + i.index for i in instructions]
    if sites not in made.counters:
        made.counters.append(sites)
    at = e.let(f"getelementptr i64, ptr {e.pointer('counts')}, i32 {made.counters.index(sites)}")
    before = e.let(f"load i64, ptr {at}")
    e.do(f"store i64 {e.let(f'add i64 {before}, 1')}, ptr {at}")


def _block(e: Emitter, flow: Flow, region: Region, block: Block, made: Translation) -> None:
    e.label(f"b{block.index}")
    end = "ret i32 -1" if e.function.entry else "ret void"
    _count(e, made, [i for i in block.instructions if i.guard is None])
    open = True
    for i in block.instructions:
        behind = _guard(e, i, f"b{block.index + 1}" if _leaves(i) else None, made)
        if i.root == "bra":
            e.do(f"br label %b{block.next[0]}")
        elif i.root == "brx":
            cases = " ".join(f"i32 {k}, label %b{to}" for k, to in enumerate(block.next[: len(targets(e.function, i))]))
            e.do(f"switch i32 {e.read(i.operands[0], 'u32')}, label %b{block.next[0]} [{cases}]")
        elif i.root in ("ret", "exit", "trap"):
            if i.root == "trap":
                at = e.let(f"getelementptr i8, ptr %ctx, i64 {place('error')}")
                e.do(f"store i32 {TRAPPED}, ptr {at}")
            e.do(end)
        elif is_sync(i):
            _wait(e, flow, region, i)
        else:
            if i.root not in OPS:
                raise i.refuse("it is not understood")
            try:
                OPS[i.root](e, i)
            except PtxError as wrong:
                raise wrong if str(wrong).startswith("PTX line") else i.refuse(str(wrong)) from None
        if behind is not None and not _leaves(i):
            e.do(f"br label %{behind}")
            e.label(behind)
        open = not _leaves(i)
    if open:
        e.do(f"br label %b{block.next[0]}" if block.next else end)


def _leaves(i: Instruction) -> bool:
    return i.root in ("bra", "brx", "ret", "exit", "trap") or is_sync(i)


def _guard(e: Emitter, i: Instruction, else_to: str | None, made: Translation) -> str | None:
    """Opens what is done only if the guard holds; the label behind it."""
    if i.guard is None:
        return None
    inside, behind = e.fresh("do"), else_to or e.fresh("past")
    e.do(f"br i1 {e.read(i.guard, 'pred')}, label %{inside}, label %{behind}")
    e.label(inside)
    _count(e, made, [i])
    return behind


def _wait(e: Emitter, flow: Flow, region: Region, i: Instruction) -> None:
    """Leaves the region: what is needed later is kept, what the others need is posted."""
    number = next(k for k, sync in enumerate(flow.syncs) if sync.index == i.index)
    warp.post(e, i)
    if e.checks and i.root in ("bar", "barrier"):
        e.do(f"call void @note(ptr %ctx, i32 {e.base + i.index}, i32 %t, i64 0)")
    for name in region.stores[number]:
        kept = e.storage.types[name]
        e.do(f"store {kept} {e.let(f'load {kept}, ptr {e.register(name)}')}, ptr {_slot(e, name)}")
    e.do(f"ret i32 {WAIT | number}")
