"""Random chains of layers and joins go through all passes, in every mode, and keep their meaning."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from alexdsl.ir.interpreter import interpret
from alexdsl.ir.protocol import ShapeError
from alexdsl.ir.text import parse_graph, print_graph
from alexdsl.passes.infer import infer
from alexdsl.passes.pipeline import Options, run_passes
from tests.pipeline.example_backend import ExampleBackend
from tests.pipeline.nets import REGISTRY, arrays, bound

ROUND = st.sampled_from(["floor", "ceil"])
CONV = st.builds(
    "conv({}, kernel={}, stride={}, pad={}, round={}, bias={})".format,
    st.sampled_from([2, 4, 6]),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 1),
    ROUND,
    st.sampled_from(["none", 0]),
)
POOL = st.builds(
    "{}({}, stride={}, round={})".format,
    st.sampled_from(["maxpool", "avgpool"]),
    st.integers(1, 3),
    st.integers(1, 2),
    ROUND,
)
OTHERS = st.sampled_from(
    [
        "relu",
        "tanh",
        "sigmoid",
        "lrn(alpha=0.2)",
        "batch_norm",
        "scale(0.5)",
        "dropout(0.3)",
        "dropout(0.5, scale=test)",
    ]
)
JOINS = st.sampled_from(["add({0}, {0} | tanh)", "concat({0}, {0} | relu)", "add({0} | scale(2), {0} | relu, {0})"])
MAPS = CONV | POOL | OTHERS | JOINS
FLAT = (
    st.builds("linear({})".format, st.sampled_from([2, 4, 6]))
    | JOINS
    | OTHERS.filter(lambda text: not text.startswith("lrn"))
)


@st.composite
def specs(draw: st.DrawFn) -> str:
    """A chain of layers on a few small images, perhaps in towers on one or two devices."""
    steps = [
        draw(CONV),
        *draw(st.lists(MAPS, max_size=5)),
        f"linear({draw(st.sampled_from([2, 4]))})",
        *draw(st.lists(FLAT, max_size=2)),
    ]
    cut = draw(st.integers(1, len(steps)))
    lines = [
        f"    s{i} = {step.format(f's{i - 1}')}" if i else f"    s0 = image | {step}" for i, step in enumerate(steps)
    ]
    towers = draw(st.booleans())
    body = ["group tower(2) {", *lines[:cut], "}", *lines[cut:]] if towers else lines
    place = [f"place tower over {draw(st.sampled_from(['a', 'a, b']))}"] if towers else []
    side = draw(st.integers(3, 8))
    return "\n".join(
        [
            "net chain",
            f'data d {{ source = sample("fashion"), batch = {draw(st.integers(2, 3))} }}',
            f"input image [{draw(st.integers(1, 3))}, {side}, {draw(st.integers(3, 8))}]",
            *body,
            f"out = s{len(steps) - 1} | linear(3)",
            "loss = softmax_cross_entropy(out, label)",
            *place,
            f"solver sgd {{ lr = 0.1, epochs = 1, velocity = {draw(st.sampled_from(['inside', 'outside']))} }}",
        ]
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(specs(), st.sampled_from(["train", "gradients", "predict"]), st.sampled_from(["store", "recompute"]))
def test_random_chains_keep_their_meaning(text: str, mode: str, save: str) -> None:
    graph = bound(text)
    try:
        infer(graph, REGISTRY)
    except ShapeError:
        assume(False)
    given_arrays = arrays(graph)
    seen: dict[str, np.ndarray] = {}
    for name, stage in run_passes(graph, Options(REGISTRY, ExampleBackend(), mode, save=save)):
        assert parse_graph(print_graph(stage)) == stage
        if stage.stage == "parsed":
            continue
        outcome = interpret(stage, REGISTRY, given_arrays)
        for key, value in {**outcome.outputs, **{f"new {k}": v for k, v in outcome.updates.items()}}.items():
            np.testing.assert_allclose(
                value, seen.setdefault(key, value), rtol=1e-10, atol=1e-12, err_msg=f"{key} after {name}"
            )
