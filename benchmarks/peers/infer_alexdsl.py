"""Prediction by alexdsl with given weights; tells the logits."""

from __future__ import annotations

import argparse

import alexdsl
from benchmarks.net import inputs, load, shaped, weights
from benchmarks.turns import serve


def main() -> None:
    """Serve predictions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spec", required=True)
    parser.add_argument("--batch", type=int, required=True)
    args = parser.parse_args()
    spec = load(args.spec, args.batch)
    graph = shaped(spec, "predict", "logits")
    program = alexdsl.compile(spec, "cpu")
    program.use("predict")
    for name, array in weights(graph).items():
        (program.weights if name in program.weights else program.state)[name] = array
    images, _ = inputs(graph)
    serve(lambda: program.predict(images), logits=program.predict(images).tolist())


if __name__ == "__main__":
    main()
