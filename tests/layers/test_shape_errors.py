"""What does not fit is said in the user's words, with a way out."""

from __future__ import annotations

from typing import Any

import pytest

from alexdsl.ir.protocol import ShapeError
from alexdsl.ir.types import TensorType, f32
from tests.layers.samples import REGISTRY, Sample

MAPS = (2, 3, 4, 4)
MISFITS: list[tuple[str, dict[str, Any], tuple[tuple[int, ...], ...], str, str]] = [
    ("conv", {"maps": 4, "kernel": 11, "stride": 4}, ((1, 3, 224, 224),), "54.25|53.25", "227"),
    ("conv", {"maps": 4, "kernel": 9}, (MAPS,), "9 high does not fit into an input 4 high", "smaller kernel"),
    ("conv", {"maps": 4, "kernel": 3, "groups": 2}, (MAPS,), "groups=2 must divide", ""),
    ("conv", {"maps": 4, "kernel": 3}, ((2, 3),), "maps", ""),
    ("maxpool", {"kernel": 5}, (MAPS,), "5 high does not fit", ""),
    ("maxpool", {"kernel": 2}, ((2, 3),), r"expects maps \[N, C, H, W\]", ""),
    ("avgpool", {"kernel": 2, "pad": 2}, (MAPS,), "wholly in a pad of 2", "at most 1"),
    ("global_avgpool", {}, ((2, 3),), "expects maps", ""),
    ("lrn", {}, ((2, 3),), "expects maps", ""),
    ("flatten", {}, ((2,),), "expects maps", ""),
    ("dropout", {}, ((),), "per image", ""),
    ("add", {}, (MAPS, (2, 3, 4, 2)), r"f32\[2,3,4,4\] and f32\[2,3,4,2\]", "kernel=1"),
    ("add", {}, (MAPS,), "two or more", "add"),
    ("concat", {}, (MAPS, (2, 3, 4, 2)), "differ in channels only", "same"),
    ("concat", {}, ((2,), (2,)), "differ in channels only", ""),
    ("batch_norm", {"over": 3}, (MAPS,), "divide the batch of 2", "over"),
    ("batch_norm", {}, ((1, 3),), "one number", "larger batch"),
    ("batch_norm", {}, ((1, 3, 3),), "expects maps", ""),
    ("softmax_cross_entropy", {}, (MAPS,), "scores", "flatten"),
    ("topk", {"k": 1}, (MAPS,), "scores", ""),
]


@pytest.mark.parametrize(("kind", "given", "shapes", "message", "hint"), MISFITS)
def test_misfits(kind: str, given: dict[str, Any], shapes: Any, message: str, hint: str) -> None:
    with pytest.raises(ShapeError, match=message) as caught:
        _ = Sample(kind, given, shapes).result_types
    assert hint in caught.value.hint


def test_labels_must_be_classes() -> None:
    for label in (f32(4), TensorType("i32", (3,))):
        with pytest.raises(ShapeError, match="labels"):
            REGISTRY["softmax_cross_entropy"].infer([f32(4, 3), label], {})
