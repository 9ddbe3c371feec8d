"""Training steps of alexdsl on random images; the images come from the host in every step."""

from __future__ import annotations

import argparse

import alexdsl
from alexdsl.devices import choose
from benchmarks.net import inputs, load, shaped
from benchmarks.turns import serve


def main() -> None:
    """Serve steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spec", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    spec = load(args.spec, args.batch)
    choice = choose(args.device, spec.graph.attrs["devices"])
    program = alexdsl.compile(spec, choice.backend, device=choice.bound)
    images, labels = inputs(shaped(spec, "train", "loss"))
    program.feed(images, labels)

    def step() -> None:
        # As the trainer does it: the next batch is brought while the step goes on where that can be.
        program.start()
        program.feed(images, labels)
        program.metrics()

    serve(step, planned=dict(program.graph("train").attrs["arenas"]), held=dict(program.active.arenas))


if __name__ == "__main__":
    main()
