"""A spec trained by alexdsl on random images, as a peer of ``benchmarks.train``."""

from __future__ import annotations

import argparse

import numpy as np

import alexdsl
from benchmarks.turns import serve


def main() -> None:
    """Serve turns of ``--steps`` training steps on random images."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spec", default="specs/alexnet.net")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, default=1)
    args = parser.parse_args()
    spec = alexdsl.load(args.spec, set={"data.classes": "1000", "solver.lr": "0.00001"})
    program = alexdsl.compile(spec, "cpu", batch=args.batch)
    random = np.random.default_rng(0)
    shape = next(op.attrs["shape"] for op in spec.graph if op.kind == "input" and "shape" in op.attrs)
    images = (random.standard_normal((args.batch, *shape)) * 70).astype(np.float32)
    labels = random.integers(0, 1000, args.batch)

    def turn() -> None:
        for _ in range(args.steps):
            program.step(images, labels)

    serve(turn)


if __name__ == "__main__":
    main()
