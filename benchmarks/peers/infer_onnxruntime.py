"""Prediction by ONNX Runtime with given weights; tells the logits."""

from __future__ import annotations

import argparse
import os

import onnxruntime

from benchmarks.net import inputs, load, shaped, weights
from benchmarks.onnx_net import translate
from benchmarks.turns import serve


def main() -> None:
    """Serve predictions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spec", required=True)
    parser.add_argument("--batch", type=int, required=True)
    args = parser.parse_args()
    graph = shaped(load(args.spec, args.batch), "predict", "logits")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(translate(graph, weights(graph)), options, ["CPUExecutionProvider"])
    given = {"image": inputs(graph)[0]}
    serve(lambda: session.run(None, given), logits=session.run(None, given)[0].tolist())


if __name__ == "__main__":
    main()
