"""Specs for the tests of binding, and what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from alexdsl.data.block import ask_classes, data_problems
from alexdsl.ir.graph import Op
from alexdsl.language import Source, SpecError, parse, parse_expression
from alexdsl.passes.bind import Bound, bind
from alexdsl.registry import registry

IMAGE = "input image [3, 32, 32]\n"
END = "\nscores = linear(10)\nloss = softmax_cross_entropy(scores)\n"
GROUP = "group t(2) {\n a = conv(8, kernel=3) | relu\n b = conv(8, kernel=3)\n}\nc = relu"


def bound(text: str, **overrides: str) -> Bound:
    sets = {leaf.replace("__", "."): parse_expression(value) for leaf, value in overrides.items()}
    return bind(parse(Source("test.net", text)), registry(), overrides=sets, ask=ask_classes, check=data_problems)


def ops(body: str, tail: str = "", **overrides: str) -> Mapping[str, Op]:
    """The ops of an image net with this body, by name."""
    return {op.name: op for op in bound(IMAGE + body + END + tail, **overrides).graph}


def mistake(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        bound(text)
    (found,) = caught.value.diagnostics
    return found.message


def steps(body: str, **overrides: str) -> list[str]:
    """The names of all ops but leaves, in order, without the net's end."""
    found = ops(body, **overrides).values()
    return [op.name for op in found if op.operands and not op.name.startswith(("scores", "loss"))]
