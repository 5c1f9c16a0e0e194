"""How does a job look on a terminal? Text out of views and curves; knows nothing of HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from hsu_client.client import ENDED, Curve, Job

HIDDEN_ENERGY, FINAL_ENERGY = "mhe_s2_half", "mhe_s2"
"""The energies shown by default: half space for hidden layers, never for the classifier."""


def line(job: Job) -> str:
    """A job in one line."""
    percent = f"{100 * job['step'] / job['total_steps']:3.0f} %"
    parts = [f"job {job['id']}", job["state"], f"step {job['step']} of {job['total_steps']}", percent, job["name"]]
    return " · ".join(parts)


def details(job: Job) -> Iterator[str]:
    """A job in a few lines: how far it is, what came of it, what was tried."""
    yield line(job)
    yield f"owner      {job['owner']}" + (f"   tags {', '.join(job['tags'])}" if job["tags"] else "")
    for name in ("created_at", "started_at", "finished_at"):
        if job[name]:
            yield f"{name.removesuffix('_at'):<10} {job[name]}"
    for name, value in _outcome(job):
        yield f"{name:<10} {value}"
    if job["failure"]:
        yield f"failure    {job['failure']['code']}: {job['failure']['message']}"
    for attempt in job["attempts"]:
        kind = (attempt["outcome"] or {"kind": "running"})["kind"]
        yield f"attempt {attempt['number']}  {attempt['worker']} {attempt['device']}: {kind} at step {attempt['step']}"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of text in columns: the first aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()


def summary(curves: Iterable[Curve]) -> list[list[str]]:
    """Each curve's first and last value and its references, as rows for `table`."""
    head = ["layer", "measure", "points", "first", "last", "random", "optimum"]
    return [head, *(_row(curve) for curve in sorted(curves, key=in_order) if curve.values)]


def energies(curves: Iterable[Curve]) -> list[Curve]:
    """Each layer's own energy: in half space for hidden layers, plain for the classifier."""
    chosen = [curve for curve in curves if curve.layer and curve.measure == _energy_of(curve.layer)]
    return sorted(chosen, key=in_order)


def in_order(curve: Curve) -> tuple[bool, list[tuple[int, str]], str]:
    """A key that sorts curves by depth: `hidden2` before `hidden10`, the classifier last."""
    pieces = re.findall(r"\d+|\D+", curve.layer or "")
    depth = [(int(piece), "") if piece.isdigit() else (0, piece) for piece in pieces]
    return curve.layer == "classifier", depth, curve.measure


def progress(views: Iterable[Job], out: TextIO) -> Job:
    """Show a job on its way, in one line that is rewritten on a terminal; its last view."""
    shown = ""
    view: Job = {}
    for view in views:
        text = line(view)
        if out.isatty():
            print(f"\r\x1b[K{_bar(view)} {text}", end="", file=out, flush=True)
        elif _worth_a_line(view, shown):
            print(text, file=out, flush=True)
            shown = _stage(view)
    if out.isatty():
        print(file=out)
    return view


def _outcome(job: Job) -> Iterator[tuple[str, object]]:
    """What came of a job, by name: all of a training, of points what they are worth."""
    match job["result"]:
        case None:
            return
        case {"task": "points"} as placed:
            yield from _placed(job["spec"], placed)
        case trained:
            for name, value in trained.items():
                yield name, _number(value) if isinstance(value, float) else value


def _placed(spec: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Without the coordinates, which can be 40,000. `float` also reads the strings "NaN" and "Infinity"."""
    mirrored = " with their mirror images" if spec["half_space"] else ""
    yield "points", f"{spec['n']} in {spec['d']} dimensions{mirrored} (--json prints them)"
    yield "value", f"{float(result['value']):.10g}" + (f" (worst pole: {result['inner']})" if result["inner"] else "")
    known = result["best_known"]
    if known is None:
        yield "best known", "nothing to compare with"
        return
    yield (
        "best known",
        f"{float(known['value']):.10g} ({'' if known['is_proven'] else 'not '}proven; {known['source']})",
    )
    yield "gap", f"{float(result['gap']):.3g}"


def _worth_a_line(view: Job, shown: str) -> bool:
    return _stage(view) != shown


def _stage(view: Job) -> str:
    """What a plain log shows once: each state, and each tenth of the way."""
    tenth = 10 * view["step"] // view["total_steps"] if view["state"] not in ENDED else 10
    return f"{view['state']} {tenth}"


def _bar(view: Job, width: int = 24) -> str:
    done = int(width * view["step"] / view["total_steps"])
    return "█" * done + "░" * (width - done)


def _energy_of(layer: str) -> str:
    return FINAL_ENERGY if layer == "classifier" else HIDDEN_ENERGY


def _row(curve: Curve) -> list[str]:
    numbers = (curve.values[0], curve.values[-1], curve.random, curve.optimum)
    shown = ["" if number is None else _number(number) for number in numbers]
    return [curve.layer or "(model)", curve.measure, str(len(curve.values)), *shown]


def _number(value: float) -> str:
    return f"{value:.6g}"
