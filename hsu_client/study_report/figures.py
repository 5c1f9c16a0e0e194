"""Which figures does a study have? Every run behind its mean, the mean with its interval, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Table = Mapping[str, Any]
FORMATS = (".svg", ".pdf", ".png")
KINDS = ("intervals", "pareto", "axis")
WIDE = 20.0
"""Ratio of largest to smallest value of an axis from which it is drawn logarithmically."""


def save(made: Figure, file: Path) -> None:
    """Save a figure as SVG, PDF or PNG. Raises ValueError."""
    if file.suffix not in FORMATS:
        raise ValueError(f"a figure is saved as {', '.join(FORMATS)}; found {file.suffix or 'no ending'}")
    made.savefig(file)


def figure(
    table: Table, *, kind: str | None = "intervals", metric: str | None = None, axis: str | None = None
) -> Figure:
    """A figure of one of `KINDS`, of the primary metric by default.

    Raises ValueError if there is no such metric or axis, or nothing to draw yet.
    """
    chosen = _metric(table, metric)
    if all(cell["mean"] is None for cell in chosen["cells"]):
        raise ValueError(f"no run of study {table['study']} has a value of {chosen['metric']} yet")
    rows = 1.4 + 0.42 * len(chosen["cells"])
    made = Figure(figsize=(6.4, rows if kind == "intervals" else 4.4), layout="constrained")
    axes = made.add_subplot()
    match kind:
        case "pareto":
            _pareto(axes, table, chosen)
        case "axis":
            _along(axes, chosen, axis or _only_axis(chosen))
        case _:
            _intervals(axes, table, chosen)
    axes.set_title(_plain(table["name"]), fontsize="medium")
    return made


def bands(found: Table) -> Figure:
    """The curves of a study: a line for each cell with the interval of its mean, a panel for each layer and measure.

    Raises ValueError if there is nothing to draw yet.
    """
    panels: dict[str, list[Table]] = {}
    for curve in found["curves"]:
        name = curve["measure"] + (f" of {curve['layer']}" if curve["layer"] else "")
        panels.setdefault(name, []).append(curve)
    if not panels:
        raise ValueError(f"study {found['study']} has no such curves yet")
    made = Figure(figsize=(6.4, 3.4 * len(panels)), layout="constrained")
    for axes, (name, curves) in zip(made.subplots(len(panels), squeeze=False)[:, 0], panels.items(), strict=True):
        for place, curve in enumerate(curves):
            colour = colormaps["tab10"](place % 10)
            axes.plot(curve["steps"], _plotted(curve["mean"]), color=colour, label=_plain(curve["cell"]))
            axes.fill_between(
                curve["steps"], _plotted(curve["low"]), _plotted(curve["high"]), color=colour, alpha=0.2, linewidth=0
            )
        axes.set_xlabel(f"step; bands: {100 * found['confidence']:g} % intervals of the mean")
        axes.set_ylabel(_plain(name))
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    return made


def _plotted(numbers: Sequence[float | None]) -> list[float]:
    return [math.nan if number is None else number for number in numbers]


def _metric(table: Table, name: str | None) -> Table:
    metrics: Sequence[Table] = table["metrics"]
    found = [each for each in metrics if name in (None, each["metric"])]
    if not found:
        raise ValueError(f"the study has no metric {name!r}; it has {', '.join(each['metric'] for each in metrics)}")
    return found[0]


def _intervals(axes: Axes, table: Table, metric: Table) -> None:
    """Each cell in a row: every run as a dot, the mean and its interval over them."""
    cells = metric["cells"]
    for place, cell in enumerate(cells):
        values = _values(table, metric, cell)
        axes.plot(values, [place] * len(values), "o", color="0.55", markersize=3, alpha=0.8, zorder=3)
        if cell["interval"]:
            axes.plot(list(cell["interval"].values()), [place, place], color=_colour(cell), linewidth=2)
        if cell["mean"] is not None:
            axes.plot([cell["mean"]], [place], "D", color=_colour(cell), markersize=6, zorder=4)
    _references(axes, cells[0])
    axes.set_yticks(range(len(cells)), [_plain(cell["label"]) for cell in cells])
    axes.invert_yaxis()
    axes.set_xlabel(f"{_named(metric)}\ndots: runs; bars: {100 * table['confidence']:g} % intervals of the mean")
    axes.grid(axis="x", alpha=0.3)


def _references(axes: Axes, cell: Table) -> None:
    drawn = {name: style for name, style in (("random", "--"), ("optimum", ":")) if cell[name] is not None}
    for name, style in drawn.items():
        axes.axvline(cell[name], linestyle=style, color="0.3", linewidth=1, label=name)
    if drawn:
        axes.legend(fontsize="small")


def _values(table: Table, metric: Table, cell: Table) -> list[float]:
    runs = [run for run in table["runs"] if run["is_current"] and run["cell"] == cell["label"]]
    found = [run["values"].get(metric["metric"]) for run in runs]
    return [value for value in found if value is not None]


def _colour(cell: Table) -> str:
    """By what is shown beside the baseline, which is black."""
    if cell["contrast"] is None:
        return "black"
    return {"arm_is_better": "tab:green", "baseline_is_better": "tab:red"}.get(cell["contrast"]["finding"], "tab:blue")


def _named(metric: Table) -> str:
    direction = {True: " (higher is better)", False: " (lower is better)", None: ""}[metric["higher_is_better"]]
    return _plain(metric["metric"]) + direction


def _pareto(axes: Axes, table: Table, metric: Table) -> None:
    """Metric against cost; the cells that no other one surpasses for less are filled."""
    costs = {cost["label"]: cost for cost in table["costs"]}
    for cell in metric["cells"]:
        cost = costs[cell["label"]]
        if cell["mean"] is None or cost["gpu_seconds"] is None:
            continue
        point = (cost["gpu_seconds"], cell["mean"])
        interval = cell["interval"]
        half = (interval["high"] - interval["low"]) / 2 if interval else 0
        filled = "full" if cost["is_efficient"] else "none"
        axes.errorbar(*point, half, fmt="o", fillstyle=filled, color=_colour(cell), capsize=3)
        axes.annotate(_plain(cell["label"]), point, xytext=(5, 4), textcoords="offset points", fontsize="small")
    axes.margins(x=0.2)  # room for the names
    axes.set_xlabel("GPU seconds of a run (filled: no other cell is better for less)")
    axes.set_ylabel(_named(metric))
    axes.grid(alpha=0.3)


def _only_axis(metric: Table) -> str:
    axes = list(dict.fromkeys(axis for cell in metric["cells"] for axis in cell["at"]))
    if len(axes) != 1:
        raise ValueError(f"name the axis: {', '.join(axes)}" if axes else "the study has no axis")
    return str(axes[0])


def _along(axes: Axes, metric: Table, axis: str) -> None:
    """A line for each arm, with its interval as a band; an arm that is not crossed with the axis is a level line."""
    lines = _lines(metric, axis)
    if not any(axis in cell["at"] for cells in lines.values() for cell in cells):
        raise ValueError(f"the study has no axis {axis!r} with values yet")
    for place, (label, cells) in enumerate(lines.items()):
        colour = colormaps["tab10"](place % 10)
        if axis not in cells[0]["at"]:
            axes.axhline(cells[0]["mean"], color=colour, linestyle="--", label=_plain(label))
            continue
        x = [cell["at"][axis] for cell in cells]
        spans = [cell["interval"] or {"low": cell["mean"], "high": cell["mean"]} for cell in cells]
        axes.plot(x, [cell["mean"] for cell in cells], "o-", color=colour, label=_plain(label))
        axes.fill_between(x, [span["low"] for span in spans], [span["high"] for span in spans], color=colour, alpha=0.2)
    if _spans_widely([cell["at"][axis] for cells in lines.values() for cell in cells if axis in cell["at"]]):
        axes.set_xscale("log")
    axes.set_xlabel(_plain(axis))
    axes.set_ylabel(_named(metric))
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)


def _lines(metric: Table, axis: str) -> dict[str, list[Table]]:
    """The cells that have a value, by their arm and their point of the other axes."""
    lines: dict[str, list[Table]] = {}
    for cell in metric["cells"]:
        others = [f", {key.rsplit('/')[-1]}={value}" for key, value in cell["at"].items() if key != axis]
        if cell["mean"] is not None:
            lines.setdefault(cell["arm"] + "".join(others), []).append(cell)
    return lines


def _spans_widely(numbers: Sequence[object]) -> bool:
    real = [number for number in numbers if isinstance(number, int | float) and number > 0]
    return len(real) == len(numbers) and max(real) >= WIDE * min(real)


def _plain(text: str) -> str:
    """A text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")
