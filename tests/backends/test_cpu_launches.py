"""The loops over a program's launches: every unit is done once, in the launches' order, by any number of threads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep

import numpy as np
import pytest
from alexdsl_cpu.backend import CpuBackend
from alexdsl_cpu.dialect import CPU, F1
from alexdsl_cpu.launches import Table, sources
from alexdsl_cpu.loader import load_kernels
from alexdsl_cpu.workers import Workers

from alexdsl.ir.backend import Fault
from alexdsl.ir.kernels import fingerprint, kernel, render
from tests.backends.chains import DEVICE, MAPS, Builder
from tests.backends.test_cpu_kernels import CPU as TARGET
from tests.layers.samples import REGISTRY

THREADS = (1, 2, 3, 8)


@kernel
def adds(lo: int, hi: int, slot: int, x: F1, y: F1, factor: float, more: float):
    """y[unit] = y[unit] * factor + x[unit] + more."""
    for i in range(lo, hi):
        y[i] = y[i] * factor + x[i] + more


@kernel
def stops(lo: int, hi: int, slot: int, y: F1):
    """Ends with an error at the unit 5."""
    for i in range(lo, hi):
        if i == 5:
            raise ValueError("no more")


@pytest.fixture(scope="module")
def compiled() -> dict[str, object]:
    functions = {name: render(made, {}, CPU) for name, made in (("adds", adds), ("stops", stops))}
    return load_kernels({f"{name}_{fingerprint(source)}": source for name, source in functions.items()})


def named(compiled: dict[str, object], name: str) -> object:
    return next(function for key, function in compiled.items() if key.startswith(name))


@contextmanager
def workers(threads: int, table: Table) -> Iterator[Workers]:
    made = Workers(threads, table, *load_kernels(sources()).values())
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("threads", THREADS)
def test_every_unit_is_done_once_and_launches_keep_their_order(compiled: dict[str, object], threads: int) -> None:
    random = np.random.default_rng(threads)
    units = [int(n) for n in random.integers(1, 200, 60)]
    x, y = random.standard_normal(200).astype(np.float32), np.zeros(200, np.float32)
    table = Table()
    for count in units:
        args = (x, y, np.float32(0.5), np.float32(count))
        table.add(named(compiled, "adds"), args, count, int(random.integers(1, 9)))
    expected = np.zeros(200, np.float32)
    with workers(threads, table) as made:
        for turn in range(300):
            if turn % 100 == 0:
                sleep(0.02)  # workers fall asleep
            first = int(random.integers(0, 30))
            assert made.launch(first, len(units)) is None
            for count in units[first:]:
                expected[:count] = expected[:count] * np.float32(0.5) + x[:count] + np.float32(count)
            np.testing.assert_allclose(y, expected, rtol=1e-6)
            y[:] = expected


@pytest.mark.parametrize("threads", THREADS)
def test_a_launch_that_fails_ends_the_step(compiled: dict[str, object], threads: int) -> None:
    x, y, table = np.ones(9, np.float32), np.zeros(9, np.float32), Table()
    adding, numbers = named(compiled, "adds"), (np.float32(1), np.float32(0))
    table.add(adding, (x, y, *numbers), 9, 1)
    table.add(named(compiled, "stops"), (y,), 9, 1)
    table.add(adding, (x, y, *numbers), 9, 1)
    with workers(threads, table) as made:
        assert made.launch(0, 3) == 1
        assert made.launch(2, 3) is None
    np.testing.assert_array_equal(y, 2)


def test_the_op_of_a_failed_launch_is_named(compiled: dict[str, object]) -> None:
    chain = Builder(x=MAPS).layer("relu", "x", "y").chain()
    backend = CpuBackend(REGISTRY)
    executable = backend.load(chain.program(TARGET), {DEVICE: "cpu"}, 1)
    broken = Table()
    broken.add(named(compiled, "stops"), (np.zeros(9, np.float32),), 9, 9)
    rows, words = broken.arrays
    executable.table.arrays[0][: rows.size] = rows
    executable.table.arrays[1][: words.size] = words
    with pytest.raises(Fault, match=r"a.net:1.*kernel of 'relu'"):
        executable.run()
    executable.close()


def test_too_many_arguments(compiled: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="at most"):
        Table().add(named(compiled, "stops"), [np.zeros(1, np.float32)] * 200, 1, 1)


def test_sleeping_workers_cost_nothing() -> None:
    """A program that is loaded and does nothing takes none of the processor's time."""
    code = (
        "import alexdsl, numpy as np, time\n"
        "p = alexdsl.compile(alexdsl.load('specs/lenet5.net', set={'data.batch': '8'}), 'cpu', threads=2)\n"
        "p.step(np.zeros((8, 1, 32, 32), np.float32), np.zeros(8, np.int32))\n"
        "time.sleep(0.1); before = time.process_time(); time.sleep(1); print(time.process_time() - before)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(found.stdout) < 0.1
