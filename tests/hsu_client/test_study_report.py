"""Figures and pages of studies: what they show, and what they refuse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from study_tables import cell, contrast, table

from hsu_client.study_report import bands, figure, page, save

BASELINE = cell("baseline", 0.9)
BETTER = cell("mhe", 0.92, contrast=contrast("baseline", "arm_is_better"))
STRENGTHS = [cell("mhe", 0.9 + weight / 1000, weight) for weight in (1, 10, 100)]
STUDY = {"owner": "ada", "runs": {"succeeded": 6}, "spec": {"base": {}}}


def test_each_run_is_a_dot_behind_its_mean_and_its_interval() -> None:
    (axes,) = figure(table(BASELINE, BETTER)).axes
    rows = [line.get_xdata() for line in axes.lines]
    assert [list(row) for row in rows if len(row) == 3] == [[0.9] * 3, [0.92] * 3]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["baseline", "mhe"]
    assert {line.get_color() for line in axes.lines} >= {"black", "tab:green"}


def test_along_an_axis_an_arm_is_a_line_and_the_baseline_is_level() -> None:
    (axes,) = figure(table(BASELINE, *STRENGTHS), kind="axis").axes
    lines = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
    assert lines == {"baseline": [0, 1], "mhe": [1, 10, 100]}
    assert axes.get_xscale() == "log"


def test_a_cell_that_no_other_surpasses_for_less_is_filled() -> None:
    (axes,) = figure(table(BASELINE, BETTER), kind="pareto").axes
    assert [line.get_fillstyle() for line in axes.lines if line.get_marker() == "o"] == ["full", "none"]


def test_curves_are_drawn_with_their_bands() -> None:
    columns = {"steps": [0, 8], "runs": [2, 2], "mean": [1.0, 2.0], "low": [0.5, None], "high": [1.5, None]}
    curve = {"cell": "mhe", "layer": "conv1", "measure": "mhe_s2", "min": [0.5, 2.0], "max": [1.5, 2.0], **columns}
    drawn = bands({"study": 1, "width": 8, "confidence": 0.95, "curves": [curve, curve | {"layer": None}]})
    assert [axes.get_ylabel() for axes in drawn.axes] == ["mhe_s2 of conv1", "mhe_s2"]


@pytest.mark.parametrize("ending", ["svg", "pdf", "png"])
def test_a_figure_is_saved_in_each_format(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"figure.{ending}"
    save(figure(table(BASELINE, BETTER)), file)
    assert file.stat().st_size > 1000


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"metric": "acc"}, "the study has no metric 'acc'; it has test_accuracy"),
        ({"kind": "axis"}, "the study has no axis"),
        ({"kind": "axis", "axis": "/seed"}, "the study has no axis '/seed'"),
    ],
)
def test_what_cannot_be_drawn_is_said(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        figure(table(BASELINE, BETTER), **asked)


def test_without_values_there_is_no_figure_yet(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run of study 1 has a value of test_accuracy yet"):
        figure(table(cell("baseline", None)))
    with pytest.raises(ValueError, match="study 1 has no such curves yet"):
        bands({"study": 1, "confidence": 0.95, "curves": []})
    with pytest.raises(ValueError, match=r"saved as \.svg, \.pdf, \.png; found \.gif"):
        save(figure(table(BASELINE)), tmp_path / "figure.gif")


def test_the_page_holds_everything_and_nothing_that_is_not_escaped() -> None:
    written = page(table(BASELINE, BETTER), STUDY, {"contrasts": [{"verdict": "<b>examples</b>"}]})
    assert written.count("<svg") == 2
    assert "50 % &lt;more&gt; $of it$" in written
    assert "Missing, because they failed: &lt;nobody&gt;." in written
    assert "&lt;b&gt;examples&lt;/b&gt;" in written
    assert "It is arm_is_better." in written
    assert "<script" not in written
