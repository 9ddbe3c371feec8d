"""Chooses where a net runs: a backend and a real device for every logical one, by what is asked and what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alexdsl.ir.backend import Unavailable
from alexdsl.registry import backend, backends


@dataclass(frozen=True)
class Choice:
    """A backend's name, the real device of every logical one, and why: a sentence for people."""

    backend: str
    bound: Mapping[str, str]
    why: str


def choose(device: str, logical: Sequence[str], map: Mapping[str, str] | None = None) -> Choice:
    """Where the logical devices run when ``device`` is asked for all of them, and others by ``map`` for some.

    ``auto`` takes a GPU if there is one that can be used, else the CPU. Raises Unavailable.
    """
    unknown = sorted(set(map or {}) - set(logical))
    if unknown:
        raise Unavailable(f"the spec has no device '{unknown[0]}', only {', '.join(logical)}")
    if map and device == "auto" and set(map) >= set(logical):
        device = map[logical[0]]
    if device == "auto":
        return _automatic(logical, map or {})
    name = _driven_by(device)
    bound = dict(backend(name).bind(device, logical))
    for one, real in (map or {}).items():
        if _driven_by(real) != name:
            raise Unavailable(f"{real} and {device} cannot run one net together")
        bound[one] = backend(name).bind(real, [one])[one]
    return Choice(name, bound, "as asked")


def _automatic(logical: Sequence[str], map: Mapping[str, str]) -> Choice:
    if map:
        device = next(iter(map.values()))
        return choose(device.split(":")[0], logical, map)
    try:
        return Choice("cuda", backend("cuda").bind("cuda", logical), "a GPU is there")
    except LookupError as error:
        reason = str(error)
    except Unavailable as error:
        reason = str(error).split(": use --device")[0]
    return Choice("cpu", backend("cpu").bind("cpu", logical), reason)


def _driven_by(device: str) -> str:
    """The backend for a device's sort. Raises Unavailable with the known sorts."""
    known = {sort: name for name in backends() for sort in backend(name).devices}
    found = known.get(device.split(":")[0])
    if found is None:
        raise Unavailable(
            f"there is no device '{device}'; devices are {', '.join(sorted(known))}, and cuda:0, cuda:1 ..."
        )
    return found
