"""How does a study look on one page of HTML? Tables, figures, every run, and what must be known: it opens offline."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hsu_client.study_report.figures import figure

Table = Mapping[str, Any]

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #8886; text-align: right; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.5rem 0; } figure svg { max-width: 100%; height: auto; background: white; }
summary { cursor: pointer; }
pre { overflow-x: auto; }
"""


def page(table: Table, study: Table, examples: Table) -> str:
    """The page of a study, from its table, its view, and its cells on the same test examples."""
    parts = [
        f"<h1>{_text(table['name'])}</h1>",
        f"<p>Study {table['study']} of {_text(study['owner'])}. {_text(_progress(study))}</p>",
        *_notes(table),
        *(part for metric in table["metrics"] for part in _metric(table, metric)),
        *_examples(examples),
        "<h2>Cost beside gain</h2>",
        _figure(table, kind="pareto"),
        _costs(table),
        *_runs(table),
        "<details><summary>The study as it was asked for</summary>",
        f"<pre>{_text(json.dumps(study['spec'], indent=2))}</pre></details>",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
    title = f"<title>{_text(table['name'])}</title>"
    return f"<!doctype html><html lang=en><head>{head}{title}</head><body>{''.join(parts)}</body></html>\n"


def _text(text: object) -> str:
    return html.escape(str(text))


def _progress(study: Table) -> str:
    return ", ".join(f"{count} runs {state}" for state, count in sorted(study["runs"].items())) + "."


def _notes(table: Table) -> Iterator[str]:
    if table["notes"]:
        yield f"<ul>{''.join(f'<li>{_text(note)}</li>' for note in table['notes'])}</ul>"


def _metric(table: Table, metric: Table) -> Iterator[str]:
    yield f"<h2>{_text(metric['metric'])}</h2>"
    yield _figure(table, kind="intervals", metric=metric["metric"])
    for axis in dict.fromkeys(axis for cell in metric["cells"] for axis in cell["at"]):
        yield _figure(table, kind="axis", metric=metric["metric"], axis=axis)
    head = ("", "n", "mean", "sd", "interval", "difference", "interval", "p", "adjusted p", "Hedges g", "better pairs")
    yield _rows(head, map(_cell, metric["cells"]))
    drawn = "all" if metric["is_exact"] else "drawn"
    yield (
        "<p>p: two-sided sign-flip test of the differences of runs with the same seed "
        f"({metric['flips']} flips, {drawn}); adjusted: for {metric['contrasts']} contrasts together, by the joint "
        "maximum. They say whether new seeds would show it, not whether new test examples would.</p>"
    )
    said = [cell["contrast"]["verdict"] for cell in metric["cells"] if cell["contrast"]]
    said += [f"{cell['label']}: {cell['warning']}" for cell in metric["cells"] if cell["warning"]]
    yield f"<ul>{''.join(f'<li>{_text(each)}</li>' for each in said)}</ul>"


def _examples(examples: Table) -> Iterator[str]:
    if examples["contrasts"]:
        said = "".join(f"<li>{_text(each['verdict'])}</li>" for each in examples["contrasts"])
        yield f"<h2>Would new test examples show it?</h2><ul>{said}</ul>"


def _cell(cell: Table) -> tuple[str, ...]:
    contrast = cell["contrast"]
    own = (cell["label"], _count(cell), _number(cell["mean"]), _number(cell["sd"]), _span(cell["interval"]))
    if contrast is None:
        return (*own, "", "", "", "", "", "")
    numbers = (contrast["p"], contrast["p_adjusted"], contrast["hedges_g"], contrast["improvement"])
    return (*own, _number(contrast["difference"], signed=True), _span(contrast["interval"]), *map(_number, numbers))


def _count(cell: Table) -> str:
    return str(cell["n"]) + (f" ({cell['missing']} missing)" if cell["missing"] else "")


def _number(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:+.4g}" if signed else f"{value:.4g}"


def _span(interval: Table | None) -> str:
    return f"{interval['low']:.4g} to {interval['high']:.4g}" if interval else "–"


def _costs(table: Table) -> str:
    return _rows(
        ("", "GPU seconds a run", "seconds a step", "efficient"),
        (
            (cost["label"], _number(cost["gpu_seconds"]), _number(cost["seconds_per_step"]), _yes(cost["is_efficient"]))
            for cost in table["costs"]
        ),
    )


def _yes(value: bool | None) -> str:  # noqa: FBT001 — a cell of a table
    return {True: "yes", False: "no", None: "–"}[value]


def _runs(table: Table) -> Iterator[str]:
    metrics = [metric["metric"] for metric in table["metrics"]]
    yield f"<details><summary>All {len(table['runs'])} runs</summary>"
    yield _rows(
        ("cell", "seed", "job", "state", *metrics, "GPU seconds", "fingerprint"),
        (
            (
                *(run["cell"], _or_none(run["seed"]), _or_none(run["job"]), _state(run)),
                *(_number(run["values"].get(name)) for name in metrics),
                *(_number(run["gpu_seconds"]), (run["fingerprint"] or "–")[:12]),
            )
            for run in table["runs"]
        ),
    )
    yield "</details>"


def _or_none(value: object) -> str:
    return "–" if value is None else str(value)


def _state(run: Table) -> str:
    why = f": {run['failure']}" if run["failure"] else ""
    return f"{run['state']}{why}{'' if run['is_current'] else ', replaced'}"


def _rows(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    first = "".join(f"<th>{_text(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{_text(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table>"


def _figure(table: Table, **asked: str) -> str:
    """A figure within the page; what cannot be drawn yet is said."""
    try:
        made = figure(table, **asked)
    except ValueError as error:
        return f"<p>{_text(error)}</p>"
    file = io.StringIO()
    made.savefig(file, format="svg")
    svg = file.getvalue()
    return f"<figure>{svg[svg.index('<svg') :]}</figure>"
