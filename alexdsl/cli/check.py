"""``alexdsl check``: what follows from a spec before anything runs: shapes, parameters, multiply-adds, memory."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from alexdsl.cli.common import backend_argument, bytes_text, find_backend, load_spec, spec_argument

if TYPE_CHECKING:
    from alexdsl.data.settings import DataSettings, SourceSetting
    from alexdsl.ir.backend import Backend
    from alexdsl.spec import Spec


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """examples:
  alexdsl check specs/alexnet.net
  alexdsl check specs/alexnet.net --set data.classes=1000 --set data.batch=32
  alexdsl check specs/alexnet.net --json | jq .parameters
"""
    spec_argument(command)
    backend_argument(command)
    command.add_argument(
        "--json", action="store_true", help="the same as JSON; shapes without the batch, memory in bytes"
    )


@dataclass(frozen=True)
class Layer:
    """One step of the net; multiply-adds are per image."""

    name: str
    kind: str
    output: Sequence[int]
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Memory:
    """The planned arenas in bytes by logical device, the largest batch that fits (0: none does; none: there is no such
    device here), and the memory that there is, or why there is none."""

    train: Mapping[str, int]
    predict: Mapping[str, int]
    largest_batch: int | None
    held: str


def run(args: argparse.Namespace) -> int:
    """Check; see ``arguments``."""
    from alexdsl.ir.backend import Gap

    spec = load_spec(args)
    backend = find_backend(args.backend)
    found = layers(spec)
    gap, memory = "", None
    try:
        memory = plan(spec, backend)
    except Gap as error:
        gap = str(error)
    if args.json:
        print(json.dumps(_facts(spec, found, memory, gap), indent=1))
    else:
        _show(spec, found, memory, gap)
    return 0


def layers(spec: Spec) -> list[Layer]:
    """The steps of the net in order, without losses and metrics. Weights that several steps share count once."""
    from alexdsl.ir.protocol import LayerKind

    graph, batch = spec.shaped, spec.graph.attrs["batch"]
    found = []
    for op in graph:
        kind = spec.registry[op.kind]
        if not isinstance(kind, LayerKind) or kind.loss or kind.metric:
            continue
        name, parameters = op.layer, 0
        for operand in op.operands:
            leaf = graph.producers[operand]
            if leaf.kind == "parameter" and leaf.layer == op.layer:
                name = leaf.name.removesuffix(f".{leaf.attrs['role']}")
                parameters += graph.type(leaf.name).elements
        work = kind.multiply_adds(graph.types(op.operands), op.attrs) // batch
        found.append(Layer(name, op.kind, graph.type(op.name).shape[1:], parameters, work))
    return found


def plan(spec: Spec, backend: Backend) -> Memory:
    """What training and prediction take, and the largest batch that fits. Raises Gap."""
    from alexdsl.fitting import Plans, largest_batch
    from alexdsl.ir.backend import Unavailable

    plans = Plans(spec, backend)
    train, predict = (plans.arenas(mode) for mode in ("train", "predict"))
    try:
        bound = backend.bind(backend.devices[0], tuple(train))
    except Unavailable as error:
        return Memory(train, predict, None, str(error))
    rooms = {real: backend.memory(real) for real in bound.values()}
    held = ", ".join(f"{_whose(real)} {bytes_text(room)}" for real, room in rooms.items())
    return Memory(train, predict, largest_batch(plans, bound, rooms), held)


def _whose(real: str) -> str:
    return "this machine's" if real == "cpu" else f"{real}'s"


def _facts(spec: Spec, found: Sequence[Layer], memory: Memory | None, gap: str) -> dict[str, Any]:
    from alexdsl.ir.host import machine_memory

    graph, solver = spec.shaped, spec.solver
    inputs = {op.name: op.attrs["shape"] for op in graph if op.kind == "input" and "shape" in op.attrs}
    return {
        "name": spec.name,
        "inputs": inputs,
        "layers": [asdict(layer) for layer in found],
        "outputs": _scores(spec),
        "parameters": sum(layer.parameters for layer in found),
        "multiply_adds": sum(layer.multiply_adds for layer in found),
        "batch": graph.attrs["batch"],
        "memory": dict(memory.train) if memory else None,
        "prediction_memory": dict(memory.predict) if memory else None,
        "machine_memory": machine_memory(),
        "largest_batch": memory.largest_batch if memory else None,
        "gap": gap or None,
        "solver": {"kind": solver.kind, **solver.attrs, "epochs": solver.epochs, "steps": solver.steps,
                   "warmup": solver.warmup, "clip": solver.clip,
                   "schedule": {"kind": solver.schedule[0], **solver.schedule[1]}} if spec.bound.has_solver else None,
        "data": _data_text(spec.data) if spec.data else None,
    }  # fmt: skip


def _scores(spec: Spec) -> dict[str, str]:
    """The kind of the loss and of every report, by its label."""
    producers = spec.shaped.producers
    return {label: producers[name].kind for label, name in spec.shaped.outputs.items() if label != "logits"}


def _show(spec: Spec, found: Sequence[Layer], memory: Memory | None, gap: str) -> None:
    rows = [("layer", "kind", "output", "parameters", "multiply-adds")]
    for op in spec.shaped:
        if op.kind == "input" and "shape" in op.attrs:
            rows.append((op.name, "input", _shape(op.attrs["shape"]), "", ""))
    for layer in found:
        counts = (_count(layer.parameters), _count(layer.multiply_adds))
        rows.append((layer.name, layer.kind, _shape(layer.output), *counts))
    totals = (sum(layer.parameters for layer in found), sum(layer.multiply_adds for layer in found))
    rows.append(("in all", "", "", f"{totals[0]:,}", f"{totals[1]:,}"))
    notes = _notes(spec, memory, gap)
    if sys.stdout.isatty():
        _rich(spec.name, rows, notes)
        return
    print(spec.name)
    print()
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        aligned = [f"{text:{'<' if i < 3 else '>'}{widths[i]}}" for i, text in enumerate(row)]
        print("  ".join(aligned).rstrip())
    print()
    for name, text in notes:
        print(f"{name:<15} {text}")


def _rich(title: str, rows: Sequence[Sequence[str]], notes: Sequence[tuple[str, str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    head, *body, last = rows
    table = Table(box=box.SIMPLE_HEAD, title=title, title_style="bold", title_justify="left", show_footer=True)
    for i, text in enumerate(head):
        table.add_column(text, Text(last[i]), justify="right" if i >= 3 else "left", overflow="fold", no_wrap=i >= 3)
    for row in body:
        table.add_row(*map(Text, row), style=None if row[3] else "dim")
    console.print(table)
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, text in notes:
        grid.add_row(Text(name, "bold"), Text(text))
    console.print(grid)


def _notes(spec: Spec, memory: Memory | None, gap: str) -> list[tuple[str, str]]:
    batch = spec.graph.attrs["batch"]
    outputs = ", ".join(f"{label} ({kind})" if label == "loss" else label for label, kind in _scores(spec).items())
    notes = [("outputs", outputs)]
    if spec.data is not None:
        notes.append(("data", _data_text(spec.data)))
    notes.append(("solver", _solver_text(spec) if spec.bound.has_solver else "none, so the net cannot be trained"))
    if memory is None:
        return [*notes, ("memory", f"not known: {gap}")]
    notes.append(("training", f"{_arena_text(memory.train)} at batch {batch}"))
    notes.append(("prediction", f"{_arena_text(memory.predict)} at batch {batch}"))
    if memory.largest_batch is None:
        return [*notes, ("largest batch", f"not known: {memory.held}")]
    from alexdsl.fitting import SHARE

    largest = f"{memory.largest_batch:,}" if memory.largest_batch else "none"
    return [*notes, ("largest batch", f"{largest} fits into {SHARE:.0%} of {memory.held}")]


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _arena_text(arenas: Mapping[str, int]) -> str:
    total = bytes_text(sum(arenas.values()))
    if len(arenas) == 1:
        return total
    return f"{total} ({', '.join(f'{device} {bytes_text(size)}' for device, size in arenas.items())})"


def _solver_text(spec: Spec) -> str:
    solver = spec.solver
    kind, attrs = solver.schedule
    counts = {"epochs": solver.epochs, "steps": solver.steps}
    long = next(
        (f"{count} {unit if count > 1 else unit[:-1]}" for unit, count in counts.items() if count), "no length given"
    )
    shown = {name: f"{value:g}" if isinstance(value, float) else value for name, value in solver.attrs.items()}
    numbers = ", ".join(f"{name} {value}" for name, value in shown.items())
    declared = [p.name for p in spec.registry.schedules[kind].parameters]
    given = ", ".join(f"{name} = {attrs[name]}" for name in declared)
    schedule = f", schedule {kind}({given})" if kind != "constant" else ""
    warmup = f", warm-up {solver.warmup} steps" if solver.warmup else ""
    clip = f", clip {solver.clip:g}" if solver.clip is not None else ""
    return f"{solver.kind}, {numbers}, {long}{schedule}{warmup}{clip}"


def _data_text(data: DataSettings) -> str:
    from alexdsl.data.settings import Exact, Mirror, RandomCrop, ShorterSide

    parts = [_source_text(data.source)]
    if isinstance(data.resize, ShorterSide):
        parts.append(f"shorter side {data.resize.pixels}")
    elif isinstance(data.resize, Exact):
        parts.append(f"resized to {data.resize.height}x{data.resize.width}")
    if data.crop_size is not None:
        parts.append(f"crop {_shape(data.crop_size)}")
    parts += [text for kind, text in ((RandomCrop, "random crop"), (Mirror, "mirror")) if data.has(kind)]
    if data.random_scale is not None:
        parts.append(f"scale {data.random_scale.low:g} to {data.random_scale.high:g}")
    if data.colour_jitter is not None:
        parts.append("colour jitter")
    if data.pca_noise is not None:
        parts.append(f"colour noise {data.pca_noise.stdev:g}")
    return ", ".join([*parts, f"batch {data.batch}"])


def _source_text(source: SourceSetting) -> str:
    from alexdsl.data.settings import Env, Folder, Idx, Npz, Shards

    if isinstance(source, Folder | Shards):
        kind = "folder" if isinstance(source, Folder) else "shards"
        path = f"{kind} ${source.path.name}" if isinstance(source.path, Env) else f"{kind} {source.path}"
        return f"{path}, else {_source_text(source.otherwise)}" if source.otherwise is not None else path
    if isinstance(source, Idx):
        return f"{source.images} and {source.labels}"
    return source.path if isinstance(source, Npz) else f"sample {source.name}"
