"""The order of a step on streams: all that touches the same bytes is ordered, and nothing else waits."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from alexdsl_cuda.plan import Action, Copy, Run, Signal, Wait, plan

from alexdsl.ir.graph import Graph
from alexdsl.passes.pipeline import Options, at_stage
from tests.pipeline.example_backend import ExampleBackend
from tests.pipeline.nets import NETS, REGISTRY, bound

PLACED = [name for name in NETS if len(bound(NETS[name]).attrs["devices"]) > 1]


def _program(net: str, mode: str) -> Graph:
    return at_stage(bound(NETS[net]), Options(REGISTRY, ExampleBackend(), mode), "program")


def _earlier(actions: Sequence[Action]) -> list[set[int]]:
    """For every action, those that are done before it begins, by streams and events alone."""
    earlier: list[set[int]] = []
    last: dict[str, int] = {}
    signals: dict[int, int] = {}
    for i, action in enumerate(actions):
        before: set[int] = set()
        direct = [last[action.stream]] if action.stream in last else []
        if isinstance(action, Wait):
            direct.append(signals[action.event])
        for j in direct:
            before |= earlier[j] | {j}
        earlier.append(before)
        last[action.stream] = i
        if isinstance(action, Signal):
            signals[action.event] = i
    return earlier


def _touched(program: Graph, action: Run | Copy) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
    """The lines of 64 bytes that an action's op reads, and those that it writes, scratch memory among them."""

    def lines(device: str | None, start: int, size: int) -> set[tuple[str, int]]:
        return {(str(device), line) for line in range(start // 64, -(-(start + size) // 64))}

    def of(names: Sequence[str]) -> set[tuple[str, int]]:
        places = [(program.producers[name].device, program.results[name].offset or 0, name) for name in names]
        return {line for device, at, name in places for line in lines(device, at, program.type(name).bytes)}

    op = action.op
    scratch = lines(op.device, op.attrs.get("workspace_at", 0), op.attrs.get("workspace", 0))
    return of(op.operands), of([r.name for r in op.results]) | scratch


def _conflicts(program: Graph, actions: Sequence[Action]) -> list[tuple[int, int]]:
    works = [(i, *_touched(program, a), a) for i, a in enumerate(actions) if isinstance(a, Run | Copy)]
    return [
        (i, j)
        for place, (j, reads, writes, second) in enumerate(works)
        for i, before_reads, before_writes, first in works[:place]
        if first.op is not second.op and (before_writes & (reads | writes) or before_reads & writes)
    ]


@pytest.mark.parametrize("mode", ["train", "predict"])
@pytest.mark.parametrize("net", PLACED)
def test_what_touches_the_same_bytes_is_ordered_as_in_the_program(net: str, mode: str) -> None:
    program = _program(net, mode)
    actions = plan(program)
    ops = [op for op in program if op.launches]
    assert list(dict.fromkeys(a.op.name for a in actions if isinstance(a, Run | Copy))) == [op.name for op in ops]
    earlier = _earlier(actions)
    for first, second in _conflicts(program, actions):
        assert first in earlier[second], (actions[first], actions[second])


@pytest.mark.parametrize("net", PLACED)
def test_no_wait_is_for_nothing(net: str) -> None:
    """Without any one of the waits between begin and end, some two works that touch the same bytes are not ordered."""
    program = _program(net, "train")
    actions = plan(program)
    conflicts = _conflicts(program, actions)
    works = [i for i, a in enumerate(actions) if isinstance(a, Run | Copy)]
    waits = [i for i, a in enumerate(actions) if isinstance(a, Wait) and works[0] < i < works[-1]]
    assert waits
    for wait in waits:
        without = [*actions[:wait], Run(actions[wait].stream, program.ops[-1], program.ops[-1].launches[0])]
        earlier = _earlier([*without, *actions[wait + 1 :]])
        assert any(first not in earlier[second] for first, second in conflicts), actions[wait]


@pytest.mark.parametrize("net", PLACED)
def test_a_step_begins_and_ends_on_the_first_device(net: str) -> None:
    actions = plan(_program(net, "train"))
    earlier = _earlier(actions)
    works = {i for i, a in enumerate(actions) if isinstance(a, Run | Copy)}
    assert all(0 in earlier[i] for i in works)
    assert isinstance(actions[0], Signal)
    home = actions[0].stream
    last = max(i for i, a in enumerate(actions) if a.stream == home)
    assert works <= earlier[last] | {last}


def test_copies_have_streams_of_their_own() -> None:
    """Nothing else is between two kernels of a device while a copy goes on."""
    actions = plan(_program("alexnet", "train"))
    copies = [a for a in actions if isinstance(a, Copy)]
    assert copies
    assert {a.stream for a in copies} == {"gpu0>gpu0", "gpu0>gpu1", "gpu1>gpu0", "gpu1>gpu1"}
    assert all(a.stream == f"{a.source[0]}>{a.target[0]}" for a in copies)
