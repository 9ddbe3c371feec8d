"""Training steps of PyTorch on random images, in float32; the images come from the host in every step."""

from __future__ import annotations

import argparse
from functools import partial

import torch

from benchmarks.net import inputs, load, shaped, weights
from benchmarks.torch_net import solver, translate
from benchmarks.turns import serve

FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


def main() -> None:
    """Serve steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spec", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--layout", choices=FORMATS, default="nchw")
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    device, form = torch.device(args.device), FORMATS[args.layout]
    torch.backends.cudnn.benchmark = True
    # alexdsl multiplies in float32, not in TF32's ten bits.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    graph = shaped(load(args.spec, args.batch), "train", "loss")
    net = translate(graph, weights(graph), tower_edges=False).to(device, memory_format=form)
    update = solver(graph, net)
    images, labels = (torch.from_numpy(array) for array in inputs(graph))
    images = images.contiguous(memory_format=form)
    if device.type == "cuda":
        images, labels = images.pin_memory(), labels.pin_memory()
    loss = torch.compile(net) if args.compile else net

    def step() -> None:
        update.zero_grad()
        loss(images.to(device, non_blocking=True), labels.to(device, non_blocking=True)).backward()
        update.step()

    serve(step, partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None)


if __name__ == "__main__":
    main()
