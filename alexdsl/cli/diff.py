"""``alexdsl diff``: what differs between two specs in meaning, not in text."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from alexdsl.cli import InputError
from alexdsl.cli.common import overrides, spec_path

if TYPE_CHECKING:
    from alexdsl.compare import Comparison, Difference
    from alexdsl.compare.outputs import Outputs

WIDTH = 118


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """examples:
  alexdsl diff specs/alexnet.net specs/caffenet.net        is this the real AlexNet?
  alexdsl diff specs/alexnet.net mine.net --outputs        also run both from the same weights
  alexdsl diff mine.net other.net --set data.classes=1000 --json

exit codes: 0 the same in meaning, 1 different, 2 a spec cannot be read
"""
    command.add_argument("a", metavar="A", help="a spec file, such as specs/alexnet.net")
    command.add_argument("b", metavar="B", help="the spec to compare it with")
    command.add_argument(
        "--set", metavar="LEAF=VALUE", action="append", default=[], help="override a leaf of both specs"
    )
    command.add_argument(
        "--outputs", action="store_true", help="run both from the same weights and say by how much outputs differ"
    )
    command.add_argument("--json", action="store_true", help="the same as JSON")


def run(args: argparse.Namespace) -> int:
    """Compare; see ``arguments``."""
    from alexdsl.compare import compare
    from alexdsl.spec import load

    a, b = (load(spec_path(name), set=overrides(args.set)) for name in (args.a, args.b))
    comparison = compare(a, b)
    measured = _measured(comparison) if args.outputs else None
    if args.json:
        print(json.dumps(facts(comparison, measured), indent=1))
    else:
        for line in report(comparison, (args.a, args.b), measured):
            print(line)
    return 0 if comparison.same else 1


def _measured(comparison: Comparison) -> Outputs:
    from alexdsl.compare.outputs import Incomparable, compare_outputs
    from alexdsl.ir.backend import Gap

    if not sys.stdout.isatty() or not sys.stderr.isatty():
        shown = None
    else:
        from rich.console import Console

        shown = Console(stderr=True).status("compiling and running both nets")
        shown.start()
    try:
        return compare_outputs(comparison, lambda text: None)
    except (Incomparable, Gap, MemoryError) as error:
        raise InputError(f"--outputs: {error or 'out of memory'}") from error
    finally:
        if shown is not None:
            shown.stop()


def facts(comparison: Comparison, measured: Outputs | None = None) -> dict[str, Any]:
    """The comparison as JSON."""
    totals = [{"parameters": p, "multiply_adds": m} for p, m in comparison.totals]
    return {
        "same": comparison.same,
        "a": {"name": comparison.a.name, **totals[0]},
        "b": {"name": comparison.b.name, **totals[1]},
        "differences": [asdict(d) for d in comparison.differences if d.part != "same"],
        "written_otherwise": [asdict(d) for d in comparison.differences if d.part == "same"],
        "outputs": {**asdict(measured), "first": measured.first} if measured else None,
    }


def report(comparison: Comparison, names: Sequence[str], measured: Outputs | None = None) -> Iterator[str]:
    """The comparison for people, line by line."""
    from alexdsl.compare import PARTS

    wide = max(map(len, names))
    for letter, name, (parameters, work) in zip("AB", names, comparison.totals, strict=True):
        yield f"{letter}  {name:<{wide}}  {parameters:>13,} parameters  {work:>15,} multiply-adds an image"
    yield ""
    yield from textwrap.wrap(_verdict(comparison), WIDTH)
    for part, heading in PARTS.items():
        found = comparison.of(part)
        if found:
            yield ""
            yield heading
        for difference in found:
            yield from _lines(difference)
    if measured is not None:
        yield ""
        yield from _outputs(measured)


def _verdict(comparison: Comparison) -> str:
    """The answer in a few sentences."""
    if comparison.same:
        return "The same in meaning: nets, first weights, data and training."
    net, equal = comparison.of("net"), comparison.totals[0] == comparison.totals[1]
    shared = len(list(comparison.common_weights()))
    arrays = [len({leaf.name for step in steps for leaf in step.weights.values()}) for steps in comparison.steps]
    fits = shared == arrays[0] == arrays[1]
    if fits:
        first = "Both have the same weights, array by array" + (", and the same work" if equal else "")
    else:
        first = f"Of {arrays[0]} and {arrays[1]} arrays of weights {shared} have the same shape in both"
    if not net:
        return f"{first}. The net is the same: from the same weights it computes the same. {_rest(comparison)}"
    aspects = list(dict.fromkeys(d.what for d in net))
    many = f", and in {len(aspects) - 6} points more" if len(aspects) > 6 else ""
    but = "but from the same weights they compute different values" if fits else "and they compute different values"
    return f"{first}; {but}, for they differ in: {', '.join(aspects[:6])}{many}. {_rest(comparison)}"


def _rest(comparison: Comparison) -> str:
    words = {"start": "how weights start", "data": "the data block", "training": "how they are trained"}
    other = [text for part, text in words.items() if comparison.of(part)]
    same = [text for part, text in words.items() if not comparison.of(part)]
    found = f"Beside the net: {_joined(other)} differ{'s' if len(other) == 1 else ''}." if other else ""
    return (
        f"{found} {_joined(same).capitalize()} {'is' if len(same) == 1 else 'are'} the same.".strip() if same else found
    )


def _joined(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _some(names: Sequence[str]) -> str:
    """The names, or the first of many."""
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:4])} and {len(names) - 4} more"


def _lines(difference: Difference) -> Iterator[str]:
    kind, colon, aspect = difference.what.partition(": ")
    told = colon and all(name.endswith(f".{kind}") for name in difference.where)
    where = f"{_some(difference.where)}: " if difference.where else ""
    head = f"  {where}{aspect if told and difference.where else difference.what}"
    short = f"{head:<50}  A {difference.a}   B {difference.b}"
    if len(short) <= WIDTH:
        yield short
    else:
        yield from textwrap.wrap(head, WIDTH, subsequent_indent="    ")
        for letter, text in (("A", difference.a), ("B", difference.b)):
            yield from textwrap.wrap(f"      {letter} {text}", WIDTH, subsequent_indent="        ")
    if difference.why:
        yield from textwrap.wrap(difference.why, WIDTH, initial_indent="      ", subsequent_indent="      ")


def _outputs(measured: Outputs) -> Iterator[str]:
    yield "outputs from the same weights"
    yield (
        f"  {measured.carried} of B's {measured.of} arrays are A's first weights"
        + (", the others its own" if measured.carried < measured.of else "")
        + f"; {measured.images} random images"
    )
    for name, value in measured.chains.items():
        mark = "   the first that differs by more than rounding" if name == measured.first else ""
        yield f"  {name:<20} {value:10.2e}{mark}"
    if measured.largest == measured.largest:
        yield (
            f"  scores differ by {measured.largest:.3g} at most; "
            f"the best class is the same for {measured.agree} of {measured.images} images"
        )
