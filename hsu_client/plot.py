"""How are energy curves drawn? One panel for each measure, one line for each layer.

Needs matplotlib (the `plot` extra). Knows curves; knows nothing of HTTP.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsu_client.answers import Curve, Job, depth
from hsu_client.escapes import visible

TITLES = {
    "mhe_s0": "hyperspherical energy, s = 0",
    "mhe_s1": "hyperspherical energy, s = 1",
    "mhe_s2": "hyperspherical energy, s = 2",
    "mhe_s0_half": "half-space energy, s = 0",
    "mhe_s1_half": "half-space energy, s = 1",
    "mhe_s2_half": "half-space energy, s = 2",
    "mhe_a0": "angular energy, s = 0",
    "mhe_a1": "angular energy, s = 1",
    "mhe_a2": "angular energy, s = 2",
    "mhe_a0_half": "half-space angular energy, s = 0",
    "mhe_a1_half": "half-space angular energy, s = 1",
    "mhe_a2_half": "half-space angular energy, s = 2",
    "separation": "smallest squared distance",
    "min_angle": "smallest angle, degrees",
    "resultant_length": "length of the mean direction",
    "coherence": "largest |cos|",
    "covering": "largest hole, degrees",
    "effective_rank": "effective rank",
    "log_det": "log-determinant",
    "gradient_share": "penalty's share of the gradient",
}
REFERENCES = {"random": "--", "optimum": ":", "bound": "-."}
"""How each reference is drawn."""
GAPS = {
    "random": ": gap to random points",
    "optimum": ": gap to the optimum",
    "bound": ": gap to the optimum or a bound",
}
WIDE = 20.0
"""Ratio of largest to smallest value from which a logarithmic axis shows more than a linear one."""


def draw(job: Job, curves: Sequence[Curve], file: Path, *, relative_to: str | None = None) -> None:
    """Save the curves of a job as a picture; `relative_to` names the reference that was subtracted from them.

    Raises `ValueError` if there is nothing to draw or no such format.
    """
    drawn = sorted((curve for curve in curves if curve.values), key=depth)
    if not drawn:
        raise ValueError(f"job {job['id']} has no such curves (yet): see `hsu curves {job['id']}`")
    measures = list(dict.fromkeys(curve.measure for curve in drawn))
    columns = min(len(measures), 3)
    rows = math.ceil(len(measures) / columns)
    figure = Figure(figsize=(4.8 * columns, 3.4 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flat
    colours = _colours([curve.layer for curve in drawn])
    for axes, measure in zip(grid, measures, strict=False):
        _panel(axes, measure, [curve for curve in drawn if curve.measure == measure], colours)
    for axes in list(grid)[len(measures) :]:
        axes.remove()
    gap = GAPS[relative_to] if relative_to else ""
    title = f"{visible(job['name'])} (job {job['id']}){gap}"
    figure.suptitle(title, fontsize=12, parse_math=False)  # `$` in a name does not start a formula
    figure.savefig(file, dpi=150)


def _panel(axes: Axes, measure: str, curves: Sequence[Curve], colours: dict[str | None, object]) -> None:
    for curve in curves:
        axes.plot(curve.steps, curve.values, label=curve.layer or "model", color=colours[curve.layer], linewidth=1.6)
    if _spans_widely(curves):
        axes.set_yscale("log")
    axes.set_title(TITLES.get(measure, measure.replace("_", " ")), fontsize=10)
    axes.set_xlabel("step")
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01)
    for name, style in REFERENCES.items():
        _reference(axes, name, style, curves, colours)
    axes.legend(fontsize=8, frameon=False)


def _reference(axes: Axes, name: str, style: str, curves: Sequence[Curve], colours: dict[str | None, object]) -> None:
    """A thin line for each layer that has it, with one label for all; a logarithmic axis cannot show 0."""
    found = [(curve.layer, getattr(curve, name)) for curve in curves]
    drawn = [(layer, y) for layer, y in found if y is not None and (y > 0 or axes.get_yscale() == "linear")]
    for layer, y in drawn:
        axes.axhline(y, linestyle=style, color=colours[layer], linewidth=0.8, alpha=0.8)
    if drawn:
        axes.plot([], [], linestyle=style, color="grey", linewidth=0.8, label=name)


def _spans_widely(curves: Sequence[Curve]) -> bool:
    """Whether all values are positive and the largest is much larger than the smallest."""
    values = [value for curve in curves for value in curve.values if math.isfinite(value)]
    return bool(values) and min(values) > 0 and max(values) / min(values) > WIDE


def _colours(layers: Sequence[str | None]) -> dict[str | None, object]:
    """A colour for each layer, by depth; the same in every panel."""
    names = list(dict.fromkeys(layers))
    scale = colormaps["viridis"]
    return {name: scale(0.9 * place / max(1, len(names) - 1)) for place, name in enumerate(names)}
