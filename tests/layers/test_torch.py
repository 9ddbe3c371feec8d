"""The references against PyTorch in double precision, forward and backward, and output sizes for random windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexdsl.ir.protocol import Array, ShapeError
from alexdsl.ir.types import f32
from alexdsl.layers.window import axes, pool_axes
from tests.layers.samples import REGISTRY, SAMPLES, SEMANTICS, Sample, Tape

torch = pytest.importorskip("torch", reason="PyTorch is not installed: the references are not held against it")
F = torch.nn.functional


def _conv(x: Any, weight: Any, *bias: Any, attrs: Any) -> Any:
    rows, columns = axes(tuple(x.shape), attrs)
    ends = [max(a.after, (a.out - 1) * a.stride + a.reach - a.size - a.before) for a in (rows, columns)]
    wide = F.pad(x, (columns.before, ends[1], rows.before, ends[0]))
    y = F.conv2d(wide, weight, *bias, stride=attrs["stride"], dilation=attrs["dilation"], groups=attrs["groups"])
    return y[:, :, : rows.out, : columns.out]


def _lrn(x: Any, attrs: Any) -> Any:
    alpha = attrs["alpha"] * (attrs["size"] if attrs["per"] == "sum" else 1)
    return F.local_response_norm(x, attrs["size"], alpha, attrs["beta"], attrs["k"])


def _batch_norm(x: Any, weight: Any, bias: Any, mean: Any, variance: Any, attrs: Any) -> Any:
    runs = torch.split(x, attrs["over"] or len(x)) if attrs["stats"] == "batch" else [x]
    means, variances, ys = [], [], []
    for run in runs:
        m, v = mean.detach().clone(), variance.detach().clone()
        training = attrs["stats"] == "batch"
        ys.append(F.batch_norm(run, m, v, weight, bias, training, 1 - attrs["momentum"], attrs["epsilon"]))
        means.append(m)
        variances.append(v)
    return torch.cat(ys), torch.stack(means).mean(0), torch.stack(variances).mean(0)


def _pool_arguments(attrs: Any) -> dict[str, Any]:
    top, _, left, _ = attrs["pad"]
    return {
        "kernel_size": attrs["kernel"],
        "stride": attrs["stride"],
        "padding": (top, left),
        "ceil_mode": attrs["round"] == "ceil",
    }


def _maxpool(x: Any, attrs: Any) -> Any:
    return F.max_pool2d(x, **_pool_arguments(attrs))


def _avgpool(x: Any, attrs: Any) -> Any:
    return F.avg_pool2d(x, **_pool_arguments(attrs), count_include_pad=attrs["count"] == "padded")


def _cross_entropy(scores: Any, label: Any, attrs: Any) -> Any:
    return F.cross_entropy(scores, label.long(), ignore_index=-1, reduction="sum") / len(scores)


THEIRS: dict[str, Callable[..., Any]] = {
    "conv": _conv,
    "linear": lambda x, weight, *bias, attrs: F.linear(x.flatten(1), weight, *bias),
    "lrn": _lrn,
    "batch_norm": _batch_norm,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "global_avgpool": lambda x, attrs: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "flatten": lambda x, attrs: x.flatten(1),
    "relu": lambda x, attrs: torch.relu(x),
    "tanh": lambda x, attrs: torch.tanh(x),
    "sigmoid": lambda x, attrs: torch.sigmoid(x),
    "concat": lambda *xs, attrs: torch.cat(xs, 1),
    "softmax_cross_entropy": _cross_entropy,
}


def _has_equal(sample: Sample) -> bool:
    """Whether PyTorch knows such a layer: no towers, pooling pads alike on both sides."""
    if sample.kind not in THEIRS or sample.towers > 1:
        return False
    if "pool" not in sample.kind or sample.kind == "global_avgpool":
        return True
    pad = sample.attrs["pad"]
    return bool(pad != "same" and pad == (pad[0], pad[0], pad[2], pad[2]))


@pytest.mark.parametrize("sample", [s for s in SAMPLES if _has_equal(s)], ids=str)
def test_forward_and_backward_agree_with_pytorch(sample: Sample) -> None:
    arrays = sample.arrays()
    tape = Tape(sample, arrays)
    theirs = [torch.tensor(a, requires_grad=a.dtype == np.float64) for a in arrays]
    found = THEIRS[sample.kind](*theirs, attrs=sample.attrs)
    first, *states = found if isinstance(found, tuple) else (found,)
    np.testing.assert_allclose(tape.outputs[0], first.detach().numpy(), rtol=1e-12, atol=1e-12)
    for state, ours in zip(states, tape.outputs[3:], strict=True) if states else ():
        np.testing.assert_allclose(ours, state.numpy(), rtol=1e-12)
    dy = np.asarray(np.random.default_rng(2).normal(size=tape.outputs[0].shape))
    first.backward(torch.tensor(dy))
    for grad, their in zip(tape.backward(dy), theirs, strict=True):
        if grad is not None:
            np.testing.assert_allclose(grad, their.grad.numpy(), rtol=1e-10, atol=1e-12)


sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))
kernels = st.tuples(st.integers(1, 5), st.integers(1, 5))
strides = st.tuples(st.integers(1, 4), st.integers(1, 4))


@st.composite
def pools(draw: Any) -> Sample:
    kernel = draw(kernels)
    pad = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    kind = draw(st.sampled_from(("maxpool", "avgpool")))
    given = {"kernel": kernel, "stride": draw(strides), "pad": pad, "round": draw(st.sampled_from(("floor", "ceil")))}
    if kind == "avgpool":
        given["count"] = draw(st.sampled_from(("inside", "padded")))
    return Sample(kind, given, ((1, 2, *draw(sizes)),))


def _outcome(run: Callable[[], Array], refused: type[Exception]) -> Array | None:
    try:
        return run()
    except refused:
        return None


@given(pools())
def test_random_pools_agree_with_pytorch(sample: Sample) -> None:
    x = np.random.default_rng(0).normal(size=sample.shapes[0])
    theirs = _outcome(lambda: THEIRS[sample.kind](torch.tensor(x), attrs=sample.attrs).numpy(), RuntimeError)
    ours = _outcome(lambda: SEMANTICS.reference(sample.kind, [x], sample.attrs)[0], ShapeError)
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        assert sample.result_types[0].shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@given(sizes, kernels, strides, st.tuples(*[st.integers(0, 3)] * 2), st.tuples(*[st.integers(1, 3)] * 2))
def test_random_convolutions_have_pytorchs_sizes(size: Any, kernel: Any, stride: Any, pad: Any, dilation: Any) -> None:
    given = {"maps": 1, "kernel": kernel, "stride": stride, "pad": pad, "dilation": dilation, "round": "floor"}
    sample = Sample("conv", {**given, "bias": None}, ((1, 1, *size),))
    x, weight = torch.zeros(1, 1, *size), torch.zeros(1, 1, *kernel)
    theirs = _outcome(lambda: F.conv2d(x, weight, stride=stride, padding=pad, dilation=dilation).numpy(), RuntimeError)
    types = [f32(1, 1, *size), f32(1, 1, *kernel)]
    ours = _outcome(lambda: np.empty(SEMANTICS.infer("conv", types, sample.attrs)[0].shape), ShapeError)
    assert (ours is None) == (theirs is None)
    assert theirs is None or ours is None or ours.shape == theirs.shape


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 5), st.integers(0, 6), st.sampled_from(("floor", "ceil")))
def test_windows_lie_where_they_may(size: int, kernel: int, stride: int, pad: int, round: str) -> None:
    attrs = {"kernel": (kernel, kernel), "stride": (stride, stride), "pad": (pad, pad, pad, pad), "round": round}
    try:
        (axis, _) = pool_axes((1, 1, size, size), attrs)
    except ShapeError:
        assert pad >= kernel or size + 2 * pad < kernel
        return
    first = [o * stride - pad for o in range(axis.out)]
    assert all(start < size and start + kernel > 0 for start in first)
    assert round == "ceil" or first[-1] + kernel <= size + pad
    missing = size + pad - (first[-1] + kernel)
    assert missing < stride if round == "floor" else missing <= 0 or first[-1] + stride >= size


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 5), st.integers(1, 3))
def test_same_keeps_the_size_over_the_stride(size: int, kernel: int, stride: int, dilation: int) -> None:
    attrs = {
        "kernel": (kernel,) * 2,
        "stride": (stride,) * 2,
        "dilation": (dilation,) * 2,
        "pad": "same",
        "round": None,
    }
    axis, _ = axes((1, 1, size, size), attrs)
    assert axis.out == -(-size // stride)
    assert 0 <= axis.after - axis.before <= 1


def test_registered_layers_have_a_counterpart_or_a_reason() -> None:
    without = {"dropout": "another generator", "topk": "a metric", "add": "plus", "scale": "times"}
    assert set(REGISTRY.layers) - set(without) == set(THEIRS)
