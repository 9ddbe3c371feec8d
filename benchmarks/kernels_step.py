"""What a net's step should take on named cards, from its measured launches, beside the least that any kernels take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from alexdsl_cuda.machine import Machine
from alexdsl_cuda.prediction import Work, assumptions, estimate, step_seconds

from benchmarks.kernels_bars import executed
from benchmarks.kernels_launches import Floor, Subject
from benchmarks.kernels_measured import Measured

TENSOR_MULTIPLY_ADDS = 16 * 8 * 16 // 32
"""A thread's part of an instruction of tensor cores: 16 x 8 sums of 16 products, by a warp."""


@dataclass(frozen=True)
class Predicted:
    """A step on a card: seconds as predicted, of its launches by sort, and at least."""

    card: Machine
    seconds: float
    sorts: Mapping[str, tuple[int, float]]
    floor: float


def works(found: Sequence[Subject], measured: Mapping[str, Measured], card: Machine) -> Iterator[tuple[Subject, Work]]:
    """Every launch as work: instructions by the hot loop's mix, or as counted in the blocks that were emulated."""
    for s in found:
        one = measured[s.kernel]
        static, traffic = one.static[card.capability], one.traffic
        scale = s.blocks / traffic.blocks
        multiply_adds = executed(s, traffic) if s.multiplies else scale * traffic.multiply_adds
        each = TENSOR_MULTIPLY_ADDS if s.precision == "bf16" else 1
        instructions = multiply_adds / each / static.loop.share if s.multiplies else scale * traffic.instructions
        moved = s.bytes if s.product else min(s.bytes, scale * traffic.moved)
        yield (
            s,
            Work(s.op, multiply_adds, instructions, moved, s.blocks, s.threads, static.blocks, s.times, s.precision),
        )


def predict(found: Sequence[Subject], measured: Mapping[str, Measured], floor: Floor, card: Machine) -> Predicted:
    """A step's time on a card."""
    sorts: dict[str, tuple[int, float]] = {}
    every = list(works(found, measured, card))
    for s, work in every:
        sort = s.head.split("_")[0] if s.multiplies else "beside products" if s.product else "others"
        count, seconds = sorts.get(sort, (0, 0.0))
        sorts[sort] = count + s.times, seconds + estimate(work, card).seconds
    least = sum(card.floor(*each) for each in floor)
    return Predicted(card, step_seconds([work for _, work in every], card), sorts, least)


def text(predicted: Predicted, batch: int) -> Iterator[str]:
    """Some lines for people."""
    for sort, (count, seconds) in predicted.sorts.items():
        yield f"  {sort:<16} {count:>4} launches  {1e3 * seconds:8.3f} ms"
    seconds, floor = predicted.seconds, predicted.floor
    yield (
        f"  {'a step':<16} {'':>4}           {1e3 * seconds:8.3f} ms, {batch / seconds:,.0f} images/s; "
        f"the machine's floor is {1e3 * floor:.3f} ms ({floor / seconds:.0%})"
    )
    yield f"  taken for granted: {assumptions(predicted.card)}"
