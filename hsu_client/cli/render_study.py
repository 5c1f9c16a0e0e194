"""How is a study shown on a terminal? As text made from its views. Knows nothing of HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hsu_client.cli.render import size

Study = Mapping[str, Any]
MARKS = {"arm_is_better": "+", "baseline_is_better": "-", "differs": "≠"}


def details(study: Study) -> Iterator[str]:
    """A study in a few lines: its progress, and a line for each cell."""
    yield f"study {study['id']} · {study['name']}"
    yield progress(study)
    for search in study["searches"]:
        yield f"  {search['label']:<40} {search['begun']} of {search['trials']} trials have begun"
    for cell in study["cells"]:
        yield f"  {cell['label']:<40} {_states(cell['runs'])}"


def progress(study: Study) -> str:
    """How far a study is, in one line."""
    spent, left = study["gpu_seconds"], study["gpu_seconds_left"]
    more = "" if left is None or study["has_ended"] else f", about {_hours(left)} left"
    return f"{_states(study['runs'])} · {_hours(spent)} of GPU time spent{more}"


def _states(runs: Mapping[str, int]) -> str:
    every = sum(runs.values())
    return f"{every} runs: " + ", ".join(f"{count} {state}" for state, count in sorted(runs.items()))


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h" if seconds >= 360 else f"{seconds:.0f} s"


def cells(table: Study) -> Iterator[str]:
    """The primary metric of each cell, in a line: what is known until now."""
    metric = table["metrics"][0]
    for cell in metric["cells"]:
        if cell["mean"] is not None:
            yield f"{cell['label']:<40} {metric['metric']} {_value(cell)}"


def _value(cell: Study) -> str:
    interval, contrast = cell["interval"], cell["contrast"]
    spread = f" [{interval['low']:.4g}, {interval['high']:.4g}]" if interval else ""
    mark = f" {MARKS[contrast['finding']]}" if contrast and contrast["finding"] in MARKS else ""
    return f"{cell['mean']:.4g}{spread} n = {cell['n']}{mark}"


def quote(quoted: Study) -> Iterator[str]:
    """What a study would cost, in a few lines."""
    new = quoted["jobs"] - quoted["reused"]
    yield f"jobs       {quoted['jobs']}, of which {quoted['reused']} are there already and {new} are new"
    unknown = "not known: no similar job has run"
    yield f"GPU time   {unknown if quoted['gpu_seconds'] is None else _hours(quoted['gpu_seconds'])}"
    yield f"ends in    {unknown if quoted['ends_in'] is None else _hours(quoted['ends_in'])}, if nothing else ran"
    yield f"curves     {size(quoted['curve_bytes'])}"
    for cell in quoted["cells"]:
        pace = "" if cell["seconds_per_step"] is None else f", {cell['seconds_per_step']:.3g} s each"
        yield f"  {cell['label']:<40} {cell['total_steps']} steps{pace}"
