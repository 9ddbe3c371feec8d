"""A sweep's results as a table for people, as Markdown, and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from alexdsl.sweep.estimates import Estimate
from alexdsl.sweep.measures import Measure
from alexdsl.sweep.results import Cell, Results, standing
from alexdsl.sweep.runs import FINISHED, Run
from alexdsl.train.about import versions

FORMULA = (
    "Means over seeds, and 95 % intervals: mean ± t s / √n, s the standard deviation over n seeds, t the 97.5 % point "
    "of Student's distribution with n - 1 degrees of freedom."
)


def rows(found: Results) -> list[list[str]]:
    """The head, and for each measure a row for each variant."""
    first = found.sweep.variants[0].name
    compared = len(found.sweep.variants) > 1
    table = [["measure", "variant", "seeds", "mean and interval", *([f"against {first}"] if compared else [])]]
    for measure in found.sweep.measures:
        label = measure.label
        for name, runs in found.runs.items():
            done = sum(run.state == FINISHED for run in runs)
            cell = found.cells[name, measure.label]
            row = [label, name, str(done) if done == len(runs) else f"{done} of {len(runs)}", _mean(cell, measure)]
            table.append([*row, *([_against(cell.against, measure)] if compared else [])])
            label = ""
    return table


def notes(found: Results) -> list[str]:
    """What the table does not hold: how it was reckoned, on what, and every run that gave no number or was ill."""
    said = [FORMULA]
    if len(found.sweep.variants) > 1:
        kinds = {measure.kind == "until" for measure in found.sweep.measures}
        ratios = ["ratios of steps, by the mean of their logarithms"] if True in kinds else []
        differences = ["differences of all else" if ratios else "differences"] if False in kinds else []
        first = found.sweep.variants[0].name
        said.append(f"Against {first}: seed by seed, {' and '.join([*ratios, *differences])}.")
    devices = sorted({device for runs in found.runs.values() for run in runs for device in run.devices})
    if devices:
        said.append(f"Computed on {', '.join(devices)}.")
    for name, runs in found.runs.items():
        seeds: dict[str, list[str]] = {}
        for run in runs:
            for why in _whys(found, run):
                seeds.setdefault(why, []).append(str(run.job.seed))
        said += [f"{name}, seed {', '.join(some)}: {why}." for why, some in seeds.items()]
    return said


def _whys(found: Results, run: Run) -> list[str]:
    """Why a run has no number, once where it has none for all measures alike, and what was amiss with its health."""
    verdicts = [f"{record['health']} in {record.get('layer')}" for record in run.records if "health" in record]
    health = [f"health: {', '.join(verdicts)}"] if verdicts else []
    if standing(run):
        return [standing(run), *health]
    cells = ((measure.label, found.cells[run.job.variant, measure.label]) for measure in found.sweep.measures)
    whys = [f"{label}: {cell.values[run.job.seed].why}" for label, cell in cells if cell.values[run.job.seed].why]
    return [*whys, *health]


def markdown(found: Results) -> str:
    """The table with its title, the claim that it tests, and the notes."""
    head, *body = rows(found)
    lines = [f"# {found.sweep.title}", ""]
    if found.sweep.claim:
        lines += [found.sweep.claim, ""]
    lines += [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(found)), ""])


def facts(found: Results) -> dict[str, Any]:
    """All that is known, for programs: every run's numbers, or why there are none."""
    return {
        "sweep": found.sweep.name,
        "title": found.sweep.title,
        "claim": found.sweep.claim,
        "complete": found.complete,
        "versions": versions(),
        "measures": [asdict(measure) for measure in found.sweep.measures],
        "variants": {name: _variant(found, name) for name in found.runs},
    }


def _variant(found: Results, name: str) -> dict[str, Any]:
    runs = found.runs[name]
    cells = {measure.label: found.cells[name, measure.label] for measure in found.sweep.measures}
    return {
        "spec": runs[0].job.spec.name,
        "overrides": dict(runs[0].job.spec.overrides),
        "runs": [
            {
                "seed": run.job.seed,
                "folder": run.job.folder.name,
                "state": run.state,
                "step": run.step,
                "devices": list(run.devices),
                "values": {label: _value(cell, run.job.seed) for label, cell in cells.items()},
            }
            for run in runs
        ],
        "measures": {
            label: {"mean": _estimate(cell.estimate), "against": _estimate(cell.against)}
            for label, cell in cells.items()
        },
    }


def _value(cell: Cell, seed: int) -> float | str | None:
    one = cell.values[seed]
    return one.number if one.number is not None else one.why


def _estimate(one: Estimate | None) -> Mapping[str, Any] | None:
    return asdict(one) if one else None


def _mean(cell: Cell, measure: Measure) -> str:
    if cell.estimate is not None:
        return _with_interval(cell.estimate, lambda number: _number(number, measure))
    values = list(cell.values.values())
    failed = [one for one in values if one.failed]
    if not failed:
        return "-"
    there = [_number(one.number, measure) for one in values if one.number is not None]
    what = _short(failed[0].why) if len({one.why for one in failed}) == 1 else "failed"
    others = f"; others {', '.join(there)}" if there else ""
    return f"{what} ({len(failed)} of {len(values)}{others})"


def _short(why: str) -> str:
    return why.partition(" at step")[0]


def _against(one: Estimate | None, measure: Measure) -> str:
    if one is None:
        return "-"
    if measure.kind == "until":
        return f"× {_with_interval(one, lambda number: f'{number:.2f}')}"
    if measure.percent:
        return f"{_with_interval(one, lambda number: f'{100 * number:+.2f}')} points"
    return _with_interval(one, lambda number: f"{number:+.4f}")


def _with_interval(one: Estimate, text: Callable[[float], str]) -> str:
    if one.low is None or one.high is None:
        return text(one.mean)
    return f"{text(one.mean)} [{text(one.low)}, {text(one.high)}]"


def _number(number: float, measure: Measure) -> str:
    if measure.kind == "until":
        return f"{number:,.0f}"
    return f"{number:.2%}" if measure.percent else f"{number:.4f}"


def shown(table: Sequence[Sequence[str]]) -> list[str]:
    """The table in columns, for a terminal."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in table]
