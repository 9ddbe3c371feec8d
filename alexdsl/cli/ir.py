"""``alexdsl ir``: what the compiler made of a spec, stage by stage; what is printed parses back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from alexdsl.cli import InputError
from alexdsl.cli.common import backend_argument, find_backend, load_spec, spec_argument

if TYPE_CHECKING:
    from rich.text import Text

    from alexdsl.ir.graph import Graph, Op
    from alexdsl.passes.pipeline import Options
    from alexdsl.spec import Spec

STAGES = {
    "parsed": "the spec's layers as ops, every op with its place in the text",
    "shaped": "every value typed: the best one to begin with",
    "differentiated": "loss, gradients and updates as ops of the same kind",
    "placed": "towers cut, every op on a device, copies written out",
    "fused": "what one kernel computes is one op",
    "laid-out": "every value's layout in memory, conversions written out",
    "scheduled": "launch order, strategies, every buffer at its place in memory",
    "program": "kernel launches, and the kernels' sources",
}


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    from alexdsl.passes.pipeline import PIPELINE

    stages = "\n".join(f"  {name:<15} {text}" for name, text in STAGES.items())
    lines = [f"  {step.name:<15} {f'leads to {step.to}' if step.to else ''}".rstrip() for step in PIPELINE]
    passes = "\n".join(["  bind            leads to parsed", *lines])
    command.epilog = f"""stages:
{stages}

passes, in order:
{passes}

examples:
  alexdsl ir specs/alexnet.net
  alexdsl ir specs/alexnet.net --stage differentiated --layer conv2
  alexdsl ir specs/alexnet.net --print-after fuse
  alexdsl ir specs/alexnet.net --layer conv2 --as source
  alexdsl ir specs/alexnet.net --backend cuda --layer conv2 --as sass
  alexdsl ir specs/alexnet.net --backend cuda --as resources --card h100
"""
    spec_argument(command)
    what = command.add_mutually_exclusive_group()
    what.add_argument("--stage", metavar="STAGE", choices=tuple(STAGES), help="how far to compile (default: shaped)")
    names = ("all", "bind", *(step.name for step in PIPELINE))
    what.add_argument(
        "--print-after", metavar="PASS", choices=names, help="print after this pass, or after all of them"
    )
    command.add_argument(
        "--mode",
        choices=("train", "predict", "gradients"),
        default="train",
        help="a training step (default), prediction, or gradients without an update",
    )
    command.add_argument(
        "--layer",
        metavar="NAME",
        help="only the ops of a layer, forward and backward: conv2, or conv2.lrn for one step of it",
    )
    command.add_argument(
        "--as",
        dest="form",
        metavar="FORM",
        help="the kernels instead of the graph: source, and with --backend cuda also ptx, sass, resources",
    )
    command.add_argument(
        "--card", metavar="NAME", help="the card that kernels are compiled and reckoned for, such as a100 or h100"
    )
    command.add_argument(
        "--save",
        choices=("store", "recompute"),
        default="store",
        help="keep cheap values for the gradients (default), or compute them again",
    )
    backend_argument(command)


def run(args: argparse.Namespace) -> int:
    """Print; see ``arguments``."""
    from alexdsl.ir.backend import Gap, Unavailable
    from alexdsl.passes.pipeline import Options

    if args.form and (args.print_after or args.stage not in (None, "program")):
        raise InputError("--as shows kernels of the stage 'program': leave --stage and --print-after out")
    backend = find_backend(args.backend)
    if args.form and args.form not in backend.forms:
        raise InputError(f"--as {args.form}: the backend {backend.name} shows kernels as {', '.join(backend.forms)}")
    if args.card and args.card not in backend.cards:
        known = ", ".join(backend.cards) or "none"
        raise InputError(f"--card {args.card}: cards that the backend {backend.name} knows are {known}")
    spec = load_spec(args)
    options = Options(spec.registry, backend, args.mode, save=args.save)
    try:
        for line in _text(args, spec, options):
            print(line)
    except Gap as error:
        raise InputError(f"{error}; the stages before 'fused' need no kernels") from error
    except Unavailable as error:
        raise InputError(str(error)) from error
    return 0


def _text(args: argparse.Namespace, spec: Spec, options: Options) -> Iterator[str]:
    """What the arguments ask for, in pieces."""
    from alexdsl.passes.pipeline import run_passes

    if args.print_after:
        yield from _after(args, spec, options)
        return
    stage = "program" if args.form else args.stage or "shaped"
    *_, (_, graph) = run_passes(spec.graph, options, stage)
    if graph.stage != stage:
        raise InputError(f"--mode {args.mode} has no stage '{stage}': it goes from '{graph.stage}' on to 'placed'")
    if not args.form:
        yield _graph(graph, args.layer)
        return
    ops = graph.ops if args.layer is None else _ops(graph, args.layer)
    backend = options.backend
    card = args.card or next(iter(backend.cards), "")
    if args.form == "resources":
        yield from _resources([backend.resources(graph, op, x, card) for op in ops for x in op.launches], card)
    else:
        yield from _kernels(ops, lambda kernel: backend.show(graph, kernel, args.form, card), args.form == "source")


def _after(args: argparse.Namespace, spec: Spec, options: Options) -> Iterator[str]:
    from alexdsl.passes.pipeline import PIPELINE, run_passes

    wanted = args.print_after
    if any(step.name == wanted and args.mode not in step.modes for step in PIPELINE):
        raise InputError(f"the pass '{wanted}' does not run in --mode {args.mode}")
    before: Graph | None = None
    for name, graph in run_passes(spec.graph, options):
        if wanted == "all":
            same = before is not None and graph == before
            yield _shown(f"# after {name}" + (": as before" if same else ""))
            if not same:
                yield _graph(graph, args.layer)
            before = graph
        elif name == wanted:
            yield _graph(graph, args.layer)
            return


def _graph(graph: Graph, layer: str | None) -> str:
    """The graph's text without the last newline; with ``layer`` only its ops, and the kernels that they launch."""
    from alexdsl.ir.text import print_graph

    if layer is None:
        return _shown(print_graph(graph).rstrip("\n"))
    from dataclasses import replace

    ops = _ops(graph, layer)
    used = {launch.kernel for op in ops for launch in op.launches}
    kernels = {name: source for name, source in graph.kernels.items() if name in used}
    lines = print_graph(replace(graph, ops=tuple(ops), outputs={}, kernels=kernels)).rstrip("\n").split("\n")
    return _shown("\n".join(line for line in lines[1:] if line != "  return"))


def _ops(graph: Graph, layer: str) -> Sequence[Op]:
    """The ops made for a layer or one of its steps, among others. Raises InputError naming the nearest."""
    found = [op for op in graph if any(f"{name}.".startswith(f"{layer}.") for name in graph.layers(op))]
    if not found:
        from alexdsl.language import suggest

        known = list(dict.fromkeys(name for op in graph if op.layer for name in (op.layer.partition(".")[0], op.layer)))
        near = suggest(layer, known)
        hint = f"did you mean '{near}'?" if near else f"layers: {', '.join(name for name in known if '.' not in name)}"
        raise InputError(f"there is no layer '{layer}': {hint}")
    return found


def _kernels(ops: Sequence[Op], text: Callable[[str], str], python: bool) -> Iterator[str]:
    """The kernels that the ops launch, each with what launches it."""
    users: dict[str, list[Op]] = {}
    for op in ops:
        for launch in op.launches:
            if op not in users.setdefault(launch.kernel, []):
                users[launch.kernel].append(op)
    mark = "#" if python else "//"
    for i, (name, launching) in enumerate(users.items()):
        heads = [f"{mark}   launched by %{op.name} = {op.kind}(...)  {op.location}".rstrip() for op in launching]
        whole = "\n".join([f"{mark} kernel {name}", *heads, "", text(name).strip("\n")])
        yield ("\n\n" if i else "") + _shown(whole, python=python)


def _resources(rows: Sequence[Mapping[str, str]], card: str) -> Iterator[str]:
    """A table of launches, a line each."""
    if not rows:
        return
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    left = ("kernel", "op")

    def line(row: Mapping[str, str]) -> str:
        cells = (row[n].ljust(w) if n in left else row[n].rjust(w) for n, w in widths.items())
        return "  ".join(cells).rstrip()

    yield f"# on {card}: bytes and MFMA (million multiply-adds) are the op's, whatever the number of its launches"
    yield line({name: name for name in widths})
    yield from map(line, rows)


def _shown(text: str, *, python: bool = False) -> str:
    """The text as it is, or with colours on a terminal."""
    if not sys.stdout.isatty():
        return text
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    with console.capture() as capture:
        console.print(_python(text) if python else _coloured(text), end="")
    return capture.get()


def _python(text: str) -> Text:
    from rich.syntax import Syntax

    found = Syntax(text, "python", theme="ansi_dark", background_color="default").highlight(text)
    found.rstrip()
    return found


def _coloured(text: str) -> Text:
    from rich.text import Text

    shown = Text(text)
    shown.highlight_regex(r"%[A-Za-z_][\w.]*", "cyan")
    shown.highlight_regex(r"(?<= = )[A-Za-z_][\w+]*(?=\()", "bold")
    shown.highlight_regex(r"\b(?:f32|i32|i64|u8)\[[^\]]*\]", "green")
    shown.highlight_regex(r"@\w+", "magenta")
    shown.highlight_regex(r"(?m)^\s*(?:graph|return|launch|kernel)\b", "bold yellow")
    shown.highlight_regex(r"(?m)^# .*$|   # .*$", "dim")
    return shown
