"""In which forms is the table of a study sent? As JSON with every number, or as CSV, Markdown or LaTeX for people.

A cell of Markdown and LaTeX is the mean and half of its interval. A mark says what is shown beside the baseline, and
the caption says what the marks mean.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

from fastapi import Response

from api.problems import Responses
from api.views.jobs import rendered
from hsu_jobs.studies.table import CellView, IntervalView, MetricView, Table

BETTER, WORSE, DIFFERS = "+", "-", "≠"
_MARKS = {"arm_is_better": BETTER, "baseline_is_better": WORSE, "differs": DIFFERS}
_COLUMNS = (
    *("metric", "cell", "arm", "n", "missing", "mean", "sd", "low", "high", "random", "optimum"),
    *(
        "baseline",
        "pairs",
        "same_start",
        "difference",
        "difference_low",
        "difference_high",
        "p",
        "p_adjusted",
        "p_holm",
    ),
    *("hedges_g", "improvement", "finding", "pairs_needed", "detectable", "depends_on_missing"),
)


class TableFormat(StrEnum):
    """How the table of a study is written."""

    JSON = "json"
    CSV = "csv"
    """A row for each cell and metric, with all numbers."""
    MARKDOWN = "markdown"
    LATEX = "latex"
    """With booktabs."""

    def response(self, table: Table) -> Response:
        """The table in this form."""
        if self is TableFormat.JSON:
            return rendered(table)
        return Response(_WRITERS[self](table), media_type=f"{_MEDIA_TYPES[self]}; charset=utf-8")


def as_csv(table: Table) -> str:
    """A row for each cell and metric."""
    file = io.StringIO()
    writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for metric in table.metrics:
        for cell in metric.cells:
            writer.writerow(_row(metric, cell))
    return file.getvalue()


def _row(metric: MetricView, cell: CellView) -> dict[str, Any]:
    contrast = cell.contrast
    of_contrast = contrast.model_dump(exclude={"interval", "verdict"}) if contrast else {}
    interval = contrast.interval if contrast else None
    return {
        **cell.model_dump(exclude={"label", "at", "interval", "warning", "contrast"}),
        "metric": metric.metric,
        "cell": _spreadsheet_safe(cell.label),
        **_ends(cell.interval, "low", "high"),
        **of_contrast,
        **_ends(interval, "difference_low", "difference_high"),
    }


def _ends(interval: IntervalView | None, low: str, high: str) -> dict[str, float]:
    return {low: interval.low, high: interval.high} if interval else {}


def _spreadsheet_safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text


def as_markdown(table: Table) -> str:
    """A row for each cell, a column for each metric; then what must be known to read it."""
    head = ["", *(_markdown(metric.metric) for metric in table.metrics)]
    rows = [head, ["---"] * len(head), *(_cells_of(table, place, _markdown) for place in _places(table))]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    said = [_markdown(note) for note in (*_verdicts(table), *table.notes)]
    return "\n".join([*lines, "", caption(table), "", *(f"- {each}" for each in said), ""])


def as_latex(table: Table) -> str:
    """The same as a floating table, for the package booktabs."""
    head = " & ".join(["", *(_latex(metric.metric) for metric in table.metrics)])
    rows = [" & ".join(_cells_of(table, place, _latex)) for place in _places(table)]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{\emph{{{_latex(table.name)}}} {_latex(caption(table))}}}",
        rf"\label{{tab:study-{table.study}}}",
        rf"\begin{{tabular}}{{l{'c' * len(table.metrics)}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
        *(rf"{row} \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def _places(table: Table) -> range:
    return range(len(table.metrics[0].cells))


def _cells_of(table: Table, place: int, escaped: Callable[[str], str]) -> list[str]:
    cells = [metric.cells[place] for metric in table.metrics]
    return [escaped(cells[0].label), *(escaped(_number(cell)) for cell in cells)]


def _number(cell: CellView) -> str:
    """The mean, half of its interval, and the mark."""
    if cell.mean is None:
        return "–"
    mark = _MARKS.get(cell.contrast.finding, "") if cell.contrast else ""
    few = f" (n = {cell.n})" if cell.missing else ""
    if cell.interval is None:
        return f"{cell.mean:.4g}{few}"
    half = (cell.interval.high - cell.interval.low) / 2
    digits = _digits(half)
    return f"{cell.mean:.{digits}f} ± {half:.{digits}f}{few}{' ' * bool(mark)}{mark}"


def _digits(half: float) -> int:
    """Digits behind the point, such that two of the uncertainty are told."""
    return 4 if half <= 0 else max(0, min(10, 1 - int(f"{half:e}".split("e")[1])))


def caption(table: Table) -> str:
    """What a cell of the table is, and what its marks say."""
    seeds = len({run.seed for run in table.runs if run.is_current})
    level = f"{100 * table.confidence:g} %"
    which = {"last": "the last", "best": "the best", "best_validation": "the best validation"}[table.value]
    return (
        f"Mean over {seeds} seeds of {which} evaluation, ± half of the {level} interval (Student's t). {BETTER} and "
        f"{WORSE}: better and worse than the baseline with the same seeds, at a level of "
        f"{1 - table.confidence:.2g} for all contrasts of the metric together (sign-flip test, joint maximum); "
        f"{DIFFERS}: different, in a metric without a better direction. A cell without a mark is not shown to differ, "
        "which does not show that it is equal."
    )


def _verdicts(table: Table) -> Iterator[str]:
    yield from (search.verdict for search in table.searches)
    for cell in table.metrics[0].cells:
        if cell.contrast:
            yield cell.contrast.verdict
        if cell.warning:
            yield f"{cell.label}: {cell.warning}"


def _markdown(text: str) -> str:
    return "".join(rf"\{letter}" if letter in r"\`*_{}[]<>|#" else letter for letter in text)


_TEX = {
    "\\": r"\textbackslash{}",
    **{letter: rf"\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "≠": r"$\neq$",
    "–": "--",
    "≤": r"$\le$",
    "−": "$-$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def _latex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)


_WRITERS: dict[TableFormat, Callable[[Table], str]] = {
    TableFormat.CSV: as_csv,
    TableFormat.MARKDOWN: as_markdown,
    TableFormat.LATEX: as_latex,
}
_MEDIA_TYPES = {
    TableFormat.CSV: "text/csv",
    TableFormat.MARKDOWN: "text/markdown",
    TableFormat.LATEX: "application/x-tex",
}
TEXTS: Responses = {
    200: {"content": {media_type: {"schema": {"type": "string"}} for media_type in _MEDIA_TYPES.values()}}
}
"""For the OpenAPI document: what `format` may ask for beside JSON."""
