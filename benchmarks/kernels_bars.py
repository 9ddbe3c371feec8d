"""What is asked of kernels, and which of them fall short of it. Kernels are known by their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from alexdsl_cuda.analysis.report import Report as Static

from benchmarks.kernels_launches import Subject
from benchmarks.kernels_measured import Measured, Traffic

GEMM, CONVOLUTION, FEW_CHANNELS = 0.90, 0.86, 0.80
"""Least part of the hot loop's instructions that multiply; ``FEW_CHANNELS`` is for convolutions of images."""
TENSOR, WARP = 0.38, (64, 64)
"""Least such part on tensor cores, asked of warps of 64 x 64 sums: smaller ones load more for each product."""
PER_LOAD = 4
"""Least products on tensor cores for each load of their operands, asked of the same."""
IMAGE = 3
"""Channels of an image."""
REGISTERS, REGISTERS_OF = 128, 256
"""Most registers of a thread in blocks of so many threads and more."""
AHEAD = 200
"""Least multiplications between a load from global memory and the first use of what it loads."""
WIDE = 0.95
"""Least part of a product's global traffic that 128-bit accesses move."""
EXECUTED, EXECUTED_FIRST, EXECUTED_SMALL = 1.15, 1.25, 1.40
"""Most executed over useful multiply-adds: of all; of an image's weight gradient; of 3 x 3 windows of an image."""
MINOR = 0.01
"""Layers that do less of the step's multiply-adds may execute any number, and none of them in a loop."""
COMPILE = 5.0
"""Most seconds in which Numba compiles a kernel."""
SECTORS, WAVEFRONTS, MOVED = 1.1, 1.05, 1.1
"""Most sectors and wavefronts over the least possible, and bytes moved over compulsory ones, of other kernels."""
LITTLE = 1_000_000
"""Bytes that a launch must touch at least for its traffic to matter."""
PASSES = {"batch_norm": 1.5, "batch_norm_grad": 5 / 3}
"""Passes over the bytes of kinds that need their operands' statistics first."""


def shortfalls(subject: Subject, found: Mapping[str, Measured]) -> Iterator[str]:
    """What a launch falls short of."""
    measured = found[subject.kernel]
    for capability, static in measured.static.items():
        for text in (*_static(subject, static), *(_product(subject, static) if subject.multiplies else ())):
            yield f"sm_{capability[0]}{capability[1]}: {text}"
    if measured.calls:
        yield f"{measured.calls} calls"
    if measured.seconds >= COMPILE:
        yield f"compiled in {measured.seconds:.1f} s, not in less than {COMPILE:.0f}"
    yield from measured.traffic.findings
    if subject.multiplies:
        yield from _work(subject, measured.traffic)
    elif subject.bytes >= LITTLE:
        yield from _memory(subject, found)


def _static(subject: Subject, static: Static) -> Iterator[str]:
    for name, count in (
        ("bytes of spills", static.spills),
        ("bytes of stack", static.stack),
        ("accesses to local memory", static.local),
        ("float64 instructions", static.doubles),
    ):
        if count:
            yield f"{count} {name}"
    if static.registers > REGISTERS and subject.threads >= REGISTERS_OF:
        yield f"{static.registers} registers in blocks of {subject.threads} threads, not {REGISTERS}"


def _product(subject: Subject, static: Static) -> Iterator[str]:
    loop = static.loop
    if subject.precision == "bf16" and loop.multiplications:
        yield from _tensor(subject, static)
        return
    least = GEMM if subject.head.startswith("linear") else FEW_CHANNELS if subject.inputs == IMAGE else CONVOLUTION
    if not loop.multiplications:
        if not _loopless(subject, static):
            yield "has no loop that multiplies"
        return
    if loop.share < least:
        yield f"{loop.share:.2%} of the hot loop multiply, not {least:.0%}"
    if loop.shared_wide < 1:
        yield f"{loop.shared_wide:.0%} of the loop's loads from shared memory are of 128 bits, not all"
    if loop.ahead is None or loop.ahead < AHEAD:
        yield f"what is loaded is used after {loop.ahead} multiplications, not {AHEAD}"


def _loopless(subject: Subject, static: Static) -> bool:
    """Whether a product is so shallow that the compiler needs no loop for it, and too small to matter."""
    return subject.part < MINOR and static.multiplications > 0 and not static.loop.multiplications


def _tensor(subject: Subject, static: Static) -> Iterator[str]:
    loop = static.loop
    if tuple(subject.warp) == WARP:
        yield from _of_warps(static)
    if loop.global_wide < 1 or not _count(static, "LDGSTS"):
        yield f"{loop.global_wide:.0%} of the loop's loads are of 128 bits and copied to shared memory, not all"
    if _count(static, "LDG."):
        yield f"{_count(static, 'LDG.')} of the loop's loads pass registers"
    if loop.shared_wide < 1:
        yield f"{loop.shared_wide:.0%} of the loop's loads from shared memory are of 128 bits, not all"


def _of_warps(static: Static) -> Iterator[str]:
    """What a loop falls short of that warps of 64 x 64 sums are asked."""
    if static.loop.share < TENSOR:
        yield f"{static.loop.share:.2%} of the hot loop multiply, not {TENSOR:.0%}"
    if (times := _per_load(static)) < PER_LOAD:
        yield f"{times:.2f} products for each load of their operands, not {PER_LOAD}"


def _per_load(static: Static) -> float:
    return static.loop.multiplications / max(1, _count(static, "LDSM"))


def _count(static: Static, opcode: str) -> int:
    return sum(n for name, n in static.loop.mix.items() if name.startswith(opcode))


def _work(subject: Subject, traffic: Traffic) -> Iterator[str]:
    most, _ = bar_of_work(subject)
    if executed(subject, traffic) > most * subject.useful:
        yield f"executes {executed(subject, traffic) / subject.useful:.2f} times the useful multiply-adds, not {most}"
    if traffic.wide < WIDE:
        yield f"{traffic.wide:.0%} of the global traffic is in 128-bit accesses, not {WIDE:.0%}"


def bar_of_work(subject: Subject) -> tuple[float, str]:
    """Most executed over useful multiply-adds, and why if it is not what is asked of all."""
    if subject.part < MINOR:
        return float("inf"), f"{subject.part:.2%} of the step's multiply-adds"
    if subject.inputs == IMAGE and tuple(subject.window) == (3, 3):
        return EXECUTED_SMALL, "3 x 3 windows of an image"
    if subject.inputs == IMAGE and subject.head == "conv_weight_grad":
        return EXECUTED_FIRST, "weights' gradient of an image's convolution"
    return EXECUTED, ""


def executed(subject: Subject, traffic: Traffic) -> float:
    """Multiply-adds of all blocks: as planned, or as counted where a block of every copy of the grid was emulated."""
    if subject.grid[2] == traffic.blocks:
        return min(subject.executed, traffic.multiply_adds / traffic.blocks * subject.blocks)
    return subject.executed


def _memory(subject: Subject, found: Mapping[str, Measured]) -> Iterator[str]:
    traffic = found[subject.kernel].traffic
    for name, pair, most in (("sectors", traffic.sectors, SECTORS), ("wavefronts", traffic.wavefronts, WAVEFRONTS)):
        if pair[0] > most * pair[1]:
            yield f"{pair[0] / pair[1]:.2f} times the {name} that its accesses take at best, not {most}"
    if not subject.product and moved(subject, found) > MOVED * passes(subject):
        yield f"moves {moved(subject, found):.2f} times the op's bytes, not {MOVED * passes(subject):.2f}"


def passes(subject: Subject) -> float:
    return PASSES.get(subject.head, 1.0)


def moved(subject: Subject, found: Mapping[str, Measured]) -> float:
    """Bytes that all launches of the op move, by the blocks that were emulated, over those that they must."""
    total = 0.0
    for kernel, grid, _ in subject.together:
        traffic = found[kernel].traffic
        total += traffic.moved / traffic.blocks * grid[0] * grid[1] * grid[2]
    return total / subject.compulsory


def exemptions(subject: Subject, measured: Measured) -> Iterator[str]:
    """The bars that were lowered for a launch and that it would have missed."""
    if not subject.multiplies:
        return
    most, why = bar_of_work(subject)
    times = executed(subject, measured.traffic) / subject.useful
    if EXECUTED < times <= most:
        yield f"executes {times:.2f} times the useful multiply-adds: {why}"
    for capability, static in measured.static.items():
        if _loopless(subject, static):
            part = f"{subject.part:.2%} of the step's multiply-adds"
            yield f"sm_{capability[0]}{capability[1]}: multiplies without a loop: {part}"
    if subject.precision == "bf16" and tuple(subject.warp) != WARP:
        for capability, static in measured.static.items():
            for words in _of_warps(static):
                yield f"sm_{capability[0]}{capability[1]}: {words}: warps of {' x '.join(map(str, subject.warp))} sums"
