"""What a training step of alexdsl takes beside its kernels: all is called as ever, and every kernel finds no work."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from alexdsl_cpu.runtime import CpuExecutable

import alexdsl
from benchmarks.net import load
from benchmarks.turns import serve


def main() -> None:
    """Serve steps without work."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spec", required=True)
    parser.add_argument("--batch", type=int, required=True)
    args = parser.parse_args()
    program = alexdsl.compile(load(args.spec, args.batch), "cpu")
    executable = program.use("train")
    assert isinstance(executable, CpuExecutable)
    executable.steps = [replace(step, function=partial(nothing, step.function)) for step in executable.steps]

    def step() -> None:
        program.start()
        program.metrics()

    serve(step)


def nothing(function: Callable[..., None], first: int, last: int, slot: int, *args: object) -> None:
    """The kernel for none of its units: its arguments are taken apart as ever."""
    function(0, 0, slot, *args)


if __name__ == "__main__":
    main()
