"""What is refused before a run begins: data, images and memory that do not fit the net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alexdsl.cli import InputError
from alexdsl.cli.common import bytes_text

if TYPE_CHECKING:
    from alexdsl.data.resolve import Resolved
    from alexdsl.devices import Choice
    from alexdsl.spec import Spec


def check_fit(spec: Spec, resolved: Resolved) -> None:
    """The data must fit the net. Raises InputError."""
    _check_classes(spec, resolved)
    _check_images(spec, resolved)


def _check_classes(spec: Spec, resolved: Resolved) -> None:
    """The data must have classes to tell apart, with scores of their own."""
    if len(resolved.classes) < 2:
        raise InputError(f"{resolved.train.description}: with a single class there is nothing to learn")
    name = spec.shaped.outputs.get("logits")
    scores = spec.shaped.type(name).shape[1] if name else None
    if scores is not None and len(resolved.classes) > scores:
        raise InputError(
            f"the data has {len(resolved.classes)} classes, but '{name}' gives {scores} scores: "
            "linear(data.classes) counts them"
        )


def _check_images(spec: Spec, resolved: Resolved) -> None:
    """The prepared images must be what the net's input takes."""
    from alexdsl.data.resizing import image_shape

    assert spec.data is not None
    given = image_shape(spec.data, resolved.train)
    for op in spec.graph:
        if op.kind == "input" and "shape" in op.attrs and tuple(op.attrs["shape"]) != given:
            wanted = list(op.attrs["shape"])
            raise InputError(
                f"{op.location}: input {op.name} takes {wanted}, but the data block prepares images of {list(given)}: "
                "see its crop, resize and channels"
            )


def check_memory(
    spec: Spec, choice: Choice, what: str, modes: Sequence[str], way_out: str = "--set data.batch={} would fit"
) -> None:
    """Refuse what the devices cannot hold, before it is allocated: ``what`` it is, its modes, and the way out, told the
    largest batch that fits. Raises InputError."""
    from alexdsl.fitting import Plans, fullest, largest_batch
    from alexdsl.registry import backend

    found = backend(choice.backend)
    rooms = {real: found.memory(real) for real in choice.bound.values()}
    plans = Plans(spec, found, modes)
    device, needed = fullest(plans, choice.bound, rooms)
    if needed > rooms[device]:
        whose = "this machine" if device == "cpu" else device
        batch = largest_batch(plans, choice.bound, rooms)
        advice = way_out.format(batch) if batch else "not even one image fits"
        raise InputError(f"{what} needs {bytes_text(needed)} and {whose} has {bytes_text(rooms[device])}: {advice}")
