"""Prediction by PyTorch, eager, with given weights; tells the logits."""

from __future__ import annotations

import argparse

import torch

from benchmarks.net import inputs, load, shaped, weights
from benchmarks.peers.train_torch import FORMATS
from benchmarks.torch_net import translate
from benchmarks.turns import serve


def main() -> None:
    """Serve predictions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spec", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--layout", choices=FORMATS, default="nchw")
    args = parser.parse_args()
    graph, form = shaped(load(args.spec, args.batch), "predict", "logits"), FORMATS[args.layout]
    net = translate(graph, weights(graph), tower_edges=True).to(memory_format=form)
    images = torch.from_numpy(inputs(graph)[0]).contiguous(memory_format=form)
    with torch.inference_mode():
        serve(lambda: net(images), logits=net(images).tolist())


if __name__ == "__main__":
    main()
