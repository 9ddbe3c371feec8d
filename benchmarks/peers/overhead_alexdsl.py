"""What a training step of alexdsl takes beside its kernels: all is called as ever, and every kernel finds no work."""

from __future__ import annotations

import argparse

from alexdsl_cpu.launches import ROW, UNITS
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
    rows, _ = executable.table.arrays
    rows.reshape(-1, ROW)[:, UNITS] = 0

    def step() -> None:
        program.start()
        program.metrics()

    serve(step)


if __name__ == "__main__":
    main()
