"""What is asked of kernels: each bar is missed by itself, and named; what passes is silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from alexdsl_cuda.analysis.report import Loop
from alexdsl_cuda.analysis.report import Report as Static

from benchmarks.kernels_bars import exemptions, shortfalls
from benchmarks.kernels_launches import Arg, Subject
from benchmarks.kernels_measured import Measured, Traffic

LOOP = Loop(1000, 910, {"FFMA": 910}, 250, 1.0, 1.0)
STATIC = Static(128, 0, 0, 0, 32768, 0.25, 2, 0, 0, 64, 1.0, LOOP, 0.0, 2000)
TRAFFIC = Traffic(1, 1000, 1100, 4_000_000, (100, 100), (200, 200), 1.0, 1.0, ())
MEASURED = Measured({(8, 0): STATIC}, 0, 1.5, TRAFFIC)
KEY = ("k", (1, 1, 9), (256, 1, 1))
PRODUCT = Subject(
    "net", "fc.linear", "linear+relu", "fc", "k", "", *KEY[1:], [Arg("F1", "x", 1_000_000)], 1, True, True, 9000, 9000,
    0.5, 4_000_000, [KEY], 0, (), (),
)  # fmt: skip
CONV = replace(PRODUCT, kind="conv_weight_grad", inputs=64, window=(3, 3))
OTHER = replace(
    PRODUCT, kind="maxpool", product=False, multiplies=False, grid=(1, 1, 1), together=[("k", (1, 1, 1), KEY[2])]
)


def short(subject: Subject, measured: Measured = MEASURED) -> list[str]:
    return list(shortfalls(subject, {subject.kernel: measured}))


def with_static(**changes: Any) -> Measured:
    return replace(MEASURED, static={(8, 0): replace(STATIC, **changes)})


def with_loop(**changes: Any) -> Measured:
    return with_static(loop=replace(LOOP, **changes))


def with_traffic(**changes: Any) -> Measured:
    return replace(MEASURED, traffic=replace(TRAFFIC, **changes))


@pytest.mark.parametrize("subject", [PRODUCT, CONV, OTHER], ids=["linear", "conv", "other"])
def test_what_passes_is_silent(subject: Subject) -> None:
    assert short(subject) == []


OF_ALL: Mapping[str, tuple[Measured, str]] = {
    "spills": (with_static(spills=8), "sm_80: 8 bytes of spills"),
    "stack": (with_static(stack=16), "sm_80: 16 bytes of stack"),
    "local": (with_static(local=2), "sm_80: 2 accesses to local memory"),
    "doubles": (with_static(doubles=1), "sm_80: 1 float64 instructions"),
    "registers": (with_static(registers=129), "sm_80: 129 registers in blocks of 256 threads, not 128"),
    "calls": (replace(MEASURED, calls=1), "1 calls"),
    "compiling": (replace(MEASURED, seconds=5.0), "compiled in 5.0 s, not in less than 5"),
    "findings": (with_traffic(findings=("outside: ...",)), "outside: ..."),
}


@pytest.mark.parametrize("subject", [PRODUCT, OTHER], ids=["product", "other"])
@pytest.mark.parametrize("name", OF_ALL)
def test_what_every_kernel_is_asked(name: str, subject: Subject) -> None:
    measured, words = OF_ALL[name]
    assert short(subject, measured) == [words]


def test_small_blocks_may_take_more_registers() -> None:
    assert short(replace(PRODUCT, block=(192, 1, 1)), with_static(registers=168)) == []


OF_PRODUCTS: Mapping[str, tuple[Measured, str]] = {
    "multiplying": (with_loop(multiplications=899), "sm_80: 89.90% of the hot loop multiply, not 90%"),
    "no loop": (with_loop(multiplications=0), "sm_80: has no loop that multiplies"),
    "shared loads": (with_loop(shared_wide=0.5), "sm_80: 50% of the loop's loads from shared memory are of 128 bits"),
    "ahead": (with_loop(ahead=199), "sm_80: what is loaded is used after 199 multiplications, not 200"),
    "global traffic": (with_traffic(wide=0.94), "94% of the global traffic is in 128-bit accesses, not 95%"),
}


@pytest.mark.parametrize("name", OF_PRODUCTS)
def test_what_products_are_asked(name: str) -> None:
    measured, words = OF_PRODUCTS[name]
    (found,) = short(PRODUCT, measured)
    assert found.startswith(words)
    assert short(OTHER, measured) == []


@pytest.mark.parametrize(("inputs", "kind", "least"), [(64, "conv", 860), (3, "conv", 800), (0, "linear", 900)])
def test_loops_multiply_by_the_sort_of_product(inputs: int, kind: str, least: int) -> None:
    subject = replace(PRODUCT, kind=kind, inputs=inputs)
    assert short(subject, with_loop(multiplications=least)) == []
    assert len(short(subject, with_loop(multiplications=least - 1))) == 1


HALVES = Loop(150, 64, {"HMMA.16816.F32.BF16": 64, "LDSM.16.M88.4": 16, "LDGSTS.E.BYPASS.128": 8}, None, 1.0, 1.0)
TENSOR = replace(CONV, warp=(64, 64))


def with_halves(**changes: Any) -> Measured:
    return with_static(loop=replace(HALVES, **changes))


OF_TENSOR_CORES: Mapping[str, tuple[Measured, str]] = {
    "multiplying": (with_halves(instructions=169), "sm_80: 37.87% of the hot loop multiply, not 38%"),
    "loads": (with_halves(mix={**HALVES.mix, "LDSM.16.M88.4": 17}), "sm_80: 3.76 products for each load"),
    "copies": (with_halves(global_wide=0.5), "sm_80: 50% of the loop's loads are of 128 bits and copied"),
    "no copies": (with_halves(mix={"LDSM.16.M88.4": 16}), "sm_80: 100% of the loop's loads are of 128 bits and copied"),
    "registers": (with_halves(mix={**HALVES.mix, "LDG.E.128": 1}), "sm_80: 1 of the loop's loads pass registers"),
    "shared": (with_halves(shared_wide=0.5), "sm_80: 50% of the loop's loads from shared memory are of 128 bits"),
    "no loop": (with_halves(multiplications=0), "sm_80: has no loop that multiplies"),
}


@pytest.mark.parametrize("name", OF_TENSOR_CORES)
def test_what_tensor_cores_are_asked(name: str) -> None:
    measured, words = OF_TENSOR_CORES[name]
    (found,) = short(TENSOR, measured)
    assert found.startswith(words)
    assert short(TENSOR, with_halves()) == []


def test_smaller_warps_are_exempt_and_listed() -> None:
    small, measured = replace(TENSOR, warp=(64, 48)), with_halves(instructions=169)
    assert short(small, measured) == []
    (found,) = exemptions(small, measured)
    assert found == "sm_80: 37.87% of the hot loop multiply, not 38%: warps of 64 x 48 sums"


def test_small_products_without_a_loop_are_exempt_and_listed() -> None:
    small, without = replace(PRODUCT, part=0.009), with_loop(multiplications=0)
    assert short(small, without) == []
    assert list(exemptions(small, without)) == ["sm_80: multiplies without a loop: 0.90% of the step's multiply-adds"]
    assert list(exemptions(small, MEASURED)) == []
    nothing = with_static(loop=without.static[8, 0].loop, multiplications=0)
    assert short(small, nothing) == ["sm_80: has no loop that multiplies"]


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({}, 1.15),
        ({"inputs": 3, "window": (11, 11)}, 1.25),
        ({"inputs": 3, "window": (11, 11), "kind": "conv"}, 1.15),
        ({"inputs": 3}, 1.4),
        ({"part": 0.009}, 9.0),
    ],
)
def test_little_is_executed_in_vain(changes: dict[str, Any], most: float) -> None:
    subject = replace(CONV, **changes)
    exactly, more = (replace(subject, executed=round(9000 * n)) for n in (most, most + 0.01))
    assert short(exactly) == []
    assert len(short(more)) == (most < 9)
    assert bool(list(exemptions(exactly, MEASURED))) == (most > 1.15)


def test_what_is_counted_in_every_copy_of_the_grid_goes_before_the_plan() -> None:
    """A stride's phases differ in how much they do; the plan knows only the most."""
    planned = replace(CONV, executed=20_000)
    assert len(short(planned)) == 1
    assert short(planned, with_traffic(blocks=9, multiply_adds=9000)) == []


def test_what_memory_bound_kernels_are_asked() -> None:
    assert short(OTHER, with_traffic(sectors=(111, 100))) == [
        "1.11 times the sectors that its accesses take at best, not 1.1"
    ]
    assert short(OTHER, with_traffic(wavefronts=(212, 200))) == [
        "1.06 times the wavefronts that its accesses take at best, not 1.05"
    ]
    assert short(OTHER, with_traffic(moved=4_500_000)) == ["moves 1.12 times the op's bytes, not 1.10"]
    small = replace(OTHER, args=[Arg("F1", "x", 100)])
    assert short(small, with_traffic(sectors=(400, 100), moved=9_000_000)) == []


def test_an_op_moves_what_all_its_launches_move() -> None:
    other = with_traffic(moved=1_000_000)
    subject = replace(OTHER, together=[*OTHER.together, ("second", (2, 1, 1), KEY[2])])
    (found,) = shortfalls(subject, {"k": MEASURED, "second": other})
    assert found == "moves 1.50 times the op's bytes, not 1.10"
    statistics = replace(subject, kind="batch_norm")
    assert list(shortfalls(statistics, {"k": MEASURED, "second": other})) == []
