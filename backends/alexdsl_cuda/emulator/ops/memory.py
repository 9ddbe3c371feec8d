"""Loads, stores, atomics and asynchronous copies.

Addresses of global, constant and local memory are the host's own; shared ones count from the start of the block's
shared memory, and as generic addresses are the host's too.
"""

from __future__ import annotations

from alexdsl_cuda.emulator.emit import Emitter, accept, items, llvm_type
from alexdsl_cuda.emulator.ptx import WIDTHS, Address, Imm, Instruction, Reg, Symbol

SPACES = ("global", "shared", "shared::cta", "local", "const", "param")
_HINTS = (
    "nc", "volatile", "weak", "relaxed", "acquire", "release", "acq_rel", "sc", "cta", "cluster", "gpu", "sys",
    "ca", "cg", "cs", "lu", "cv", "wb", "wt", "L1::evict_normal", "L1::evict_unchanged", "L1::evict_first",
    "L1::evict_last", "L1::no_allocate", "L2::64B", "L2::128B", "L2::256B",
)  # fmt: skip
"""Modifiers that speak of caches and of the order that other blocks see, which is not modelled."""


def space_of(i: Instruction) -> str:
    """The state space of an access, ``generic`` if none is named."""
    return next((m.removesuffix("::cta") for m in i.mods if m in SPACES), "generic")


def _address(i: Instruction, k: int) -> Address:
    operand = i.operands[k]
    if not isinstance(operand, Address):
        raise i.refuse("an address is missing")
    return operand


def _location(e: Emitter, i: Instruction, address: Address) -> str:
    """An address as 64 bits: an offset where the space is shared, else the host's address."""
    if isinstance(address.base, Symbol):
        space = e.symbols.get(address.base.name, ("", 0))[0]
        if space == "shared" and space_of(i) == "generic":
            raise i.refuse("a shared variable without its space")
        base = e.symbol(address.base.name)
    elif isinstance(address.base, Imm):
        base = str(address.base.value)
    else:
        base = e.read(address.base, "u64")
    return e.let(f"add i64 {base}, {address.offset}")


def shared_offset(e: Emitter, i: Instruction, address: Address) -> str:
    """An address in shared memory, of which 32 bits count, as 64 bits."""
    return e.let(f"and i64 {_location(e, i, address)}, 4294967295")


def inspected(e: Emitter, i: Instruction, location: str, size: str | int, space: str, when: str = "true") -> str:
    """Tells the checker of an access; whether it may be made."""
    code = {"global": 0, "const": 0, "shared": 1}[space]
    return e.let(
        f"call i1 @inspect(ptr %ctx, i32 {e.base + i.index}, i32 %t, i64 {location}, i32 {size}, i32 {code}, i1 {when})"
    )


def _place(e: Emitter, i: Instruction, address: Address, size: int, space: str) -> tuple[str, str | None]:
    """A pointer to what an access touches, and when checking whether it may be touched."""
    good = None
    location = shared_offset(e, i, address) if space == "shared" else _location(e, i, address)
    if e.checks and space == "generic":
        good = e.let(
            f"call i1 @inspect_generic(ptr %ctx, i32 {e.base + i.index}, i32 %t, i64 {location}, i32 {size}, "
            f"ptr %frame, i32 {e.frame_bytes})"
        )
    elif e.checks and space in ("global", "const", "shared"):
        good = inspected(e, i, location, size, space)
    if space == "shared":
        return e.let(f"getelementptr i8, ptr %shared, i64 {location}"), good
    return e.let(f"inttoptr i64 {location} to ptr"), good


def _guarded(e: Emitter, good: str | None) -> str | None:
    """Opens what is done only if the checker agrees; the label that closes it."""
    if good is None:
        return None
    inside, behind = e.fresh("good"), e.fresh("behind")
    e.do(f"br i1 {good}, label %{inside}, label %{behind}")
    e.label(inside)
    return behind


def _close(e: Emitter, label: str | None) -> None:
    if label is not None:
        e.do(f"br label %{label}")
        e.label(label)


def _parameter(e: Emitter, i: Instruction, address: Address) -> str:
    """A pointer into a parameter: of the kernel, of this function, or of a call that is being made."""
    if not isinstance(address.base, Symbol):
        raise i.refuse("only parameters with a name are understood")
    name = address.base.name
    for k, param in enumerate(e.function.params):
        if param.name == name:
            base, offset = ("%params", param.offset) if e.function.entry else (f"%a{k}", 0)
            return e.let(f"getelementptr i8, ptr {base}, i64 {offset + address.offset}")
    for k, param in enumerate(e.function.returns):
        if param.name == name:
            return e.let(f"getelementptr i8, ptr %r{k}, i64 {address.offset}")
    return e.let(f'getelementptr i8, ptr %"param.{name}", i64 {address.offset}')


def _load(e: Emitter, i: Instruction) -> None:
    accept(i, *SPACES, *_HINTS, "v2", "v4", "v8")
    type, targets, space = i.types[-1], items(i.operands[0]), space_of(i)
    step = WIDTHS[type] // 8
    address = _address(i, 1)
    if space == "param":
        start, good = _parameter(e, i, address), None
    else:
        start, good = _place(e, i, address, step * len(targets), space)
    if good is not None:
        for target in targets:
            e.write(target, _zero(type), type)
    behind = _guarded(e, good)
    kind = llvm_type(type)
    for k, target in enumerate(targets):
        place = e.let(f"getelementptr i8, ptr {start}, i64 {k * step}")
        align = 1 if e.checks else step
        e.write(target, e.let(f"load {kind}, ptr {place}, align {align}"), type)
    _close(e, behind)


def _zero(type: str) -> str:
    return "0.0" if type in ("f32", "f64") else "0"


def _store(e: Emitter, i: Instruction) -> None:
    accept(i, *SPACES, *_HINTS, "v2", "v4", "v8")
    type, values, space = i.types[-1], items(i.operands[1]), space_of(i)
    step = WIDTHS[type] // 8
    address = _address(i, 0)
    if space == "param":
        start, good = _parameter(e, i, address), None
    else:
        start, good = _place(e, i, address, step * len(values), space)
    behind = _guarded(e, good)
    for k, value in enumerate(values):
        bits = e.read(value, type)
        place = e.let(f"getelementptr i8, ptr {start}, i64 {k * step}")
        e.do(f"store {llvm_type(type)} {bits}, ptr {place}, align {1 if e.checks else step}")
    _close(e, behind)


_ATOMICS = {
    "add": "add", "and": "and", "or": "or", "xor": "xor", "exch": "xchg", "inc": "uinc_wrap", "dec": "udec_wrap",
    "min": "{}min", "max": "{}max",
}  # fmt: skip


def _atomic(e: Emitter, i: Instruction) -> None:
    """``atom`` and ``red``. Subnormals are kept in f32 sums, which the hardware flushes in global memory."""
    accept(i, *SPACES, *_HINTS, *_ATOMICS, "cas")
    type, space = i.types[-1], space_of(i)
    returns = i.root == "atom"
    if type not in ("f32", "f64") and WIDTHS[type] not in (32, 64):
        raise i.refuse("of this type it is not understood")
    kind, step = llvm_type(type), WIDTHS[type] // 8
    place, good = _place(e, i, _address(i, int(returns)), step, space)
    values = [e.read(operand, type) for operand in i.operands[1 + returns :]]
    if good is not None and returns:
        e.write(i.operands[0], _zero(type), type)
    behind = _guarded(e, good)
    if "cas" in i.mods:
        pair = f"cmpxchg ptr {place}, {kind} {values[0]}, {kind} {values[1]} monotonic monotonic"
        old = e.let(f"extractvalue {{{kind}, i1}} {e.let(pair)}, 0")
    else:
        name = next(m for m in i.mods if m in _ATOMICS)
        how = _ATOMICS[name].format("" if type[0] == "s" else "u")
        if type in ("f32", "f64"):
            how = {"add": "fadd", "exch": "xchg"}.get(name) or ""
            if not how:
                raise i.refuse("of floats it is not understood")
        old = e.let(f"atomicrmw {how} ptr {place}, {kind} {values[0]} monotonic")
    if returns:
        e.write(i.operands[0], old, type)
    _close(e, behind)


def _copy(e: Emitter, i: Instruction) -> None:
    """``cp.async``: copied at once; that it is not there before a wait is the checker's business."""
    if "commit_group" in i.mods or "wait_group" in i.mods or "wait_all" in i.mods:
        if e.checks:
            count = i.operands[0].value if i.operands and isinstance(i.operands[0], Imm) else 0
            e.do(f"call void @note(ptr %ctx, i32 {e.base + i.index}, i32 %t, i64 {count})")
        return
    accept(i, "async", "ca", "cg", "shared", "shared::cta", "global", "L2::64B", "L2::128B", "L2::256B")
    size = i.operands[2]
    if not isinstance(size, Imm) or size.value not in (4, 8, 16):
        raise i.refuse("a size other than 4, 8 or 16")
    taken: str = str(size.value)
    if len(i.operands) > 3:
        wanted = i.operands[3]
        if isinstance(wanted, Reg) and e.storage.types[wanted.name] == "i1":
            ignored = e.read(wanted, "pred")
            taken = e.let(f"select i1 {ignored}, i32 0, i32 {size.value}")
        else:
            taken = e.let(f"call i32 @llvm.umin.i32(i32 {e.read(wanted, 'u32')}, i32 {size.value})")
    offset = shared_offset(e, i, _address(i, 0))
    source = _location(e, i, _address(i, 1))
    good = None
    if e.checks:
        some = e.let(f"icmp ne i32 {taken}, 0")
        read = inspected(e, i, source, taken, "global", some)
        good = e.let(f"and i1 {read}, {inspected(e, i, offset, size.value, 'shared')}")
    behind = _guarded(e, good)
    to = e.let(f"getelementptr i8, ptr %shared, i64 {offset}")
    given = e.let(f"inttoptr i64 {source} to ptr")
    e.do(f"call void @copy_{size.value}(ptr {to}, ptr {given}, i32 {taken})")
    _close(e, behind)


COPIES = "".join(
    f"""
; Copies some of {n} bytes and fills the others with zeros.
define internal void @copy_{n}(ptr %to, ptr %from, i32 %taken) alwaysinline {{
  %whole = icmp eq i32 %taken, {n}
  br i1 %whole, label %all, label %some
all:
  %value = load <{n} x i8>, ptr %from, align 4
  store <{n} x i8> %value, ptr %to, align 4
  ret void
some:
  store <{n} x i8> zeroinitializer, ptr %to, align 4
  %none = icmp eq i32 %taken, 0
  br i1 %none, label %out, label %each
each:
  %k = phi i32 [0, %some], [%next, %each]
  %a = getelementptr i8, ptr %from, i32 %k
  %b = getelementptr i8, ptr %to, i32 %k
  %byte = load i8, ptr %a
  store i8 %byte, ptr %b
  %next = add i32 %k, 1
  %more = icmp ult i32 %next, %taken
  br i1 %more, label %each, label %out
out:
  ret void
}}
"""
    for n in (4, 8, 16)
)


def _cvta(e: Emitter, i: Instruction) -> None:
    """Shared addresses gain or lose the host's address of the block's shared memory; others stay."""
    accept(i, "to", *SPACES)
    value = e.read(i.operands[1], i.types[0])
    if space_of(i) == "shared":
        kind = llvm_type(i.types[0])
        start = e.let(f"ptrtoint ptr %shared to {kind}")
        value = e.let(f"{'sub' if 'to' in i.mods else 'add'} {kind} {value}, {start}")
    e.write(i.operands[0], value, i.types[0])


def _nothing(e: Emitter, i: Instruction) -> None:
    """Fences and prefetches: what other blocks see, and when, is not modelled."""


OPS = {
    "ld": _load, "ldu": _load, "st": _store, "atom": _atomic, "red": _atomic, "cp": _copy, "cvta": _cvta,
    "membar": _nothing, "fence": _nothing, "prefetch": _nothing, "prefetchu": _nothing, "nanosleep": _nothing,
    "discard": _nothing, "applypriority": _nothing,
}  # fmt: skip
