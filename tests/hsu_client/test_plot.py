"""Pictures of energy curves: real files, drawn by matplotlib."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from hsu_client.answers import Curve
from hsu_client.plot import draw

JOB = {"id": 7, "name": "digits"}


def _curve(layer: str | None, measure: str, *values: float) -> Curve:
    return Curve(layer, measure, list(range(len(values))), list(values))


def test_a_panel_for_each_measure_a_line_for_each_layer(tmp_path: Path) -> None:
    curves = [_curve(layer, measure, 3.0, 2.0) for layer in ("conv1", "conv2") for measure in ("mhe_s2", "min_angle")]
    draw(JOB, [*curves, _curve(None, "train_loss", 2.0, 1.0)], tmp_path / "picture.svg")
    drawn = (tmp_path / "picture.svg").read_text()
    assert drawn.count('id="axes_') == 3
    assert drawn.count("<!-- conv1 -->") == 2
    for text in ("hyperspherical energy, s = 2", "smallest angle, degrees", "train loss", "digits (job 7)"):
        assert f"<!-- {text} -->" in drawn


def test_a_wide_span_gets_a_logarithmic_axis_unless_a_value_is_negative(tmp_path: Path) -> None:
    draw(JOB, [_curve("conv1", "mhe_s2", 1.0, 1000.0)], tmp_path / "wide.svg")
    draw(JOB, [_curve("conv1", "mhe_s0", -1.0, 1000.0)], tmp_path / "negative.svg")
    assert "10^{" in (tmp_path / "wide.svg").read_text()
    assert "10^{" not in (tmp_path / "negative.svg").read_text()


def test_references_are_thin_lines_with_one_label_each(tmp_path: Path) -> None:
    curves = [
        _curve(layer, "mhe_s2", 0.5, 0.4)._replace(random=0.6, optimum=optimum, bound=bound)
        for layer, optimum, bound in (("conv1", 0.3, None), ("conv2", None, 0.35))
    ]
    draw(JOB, curves, tmp_path / "gap.svg", relative_to="random")
    drawn = (tmp_path / "gap.svg").read_text()
    assert drawn.count("<!-- random -->") == drawn.count("<!-- optimum -->") == drawn.count("<!-- bound -->") == 1
    assert drawn.count("stroke-width: 0.8") > drawn.count("stroke-width: 1.6") > 0
    assert "digits (job 7): gap to random points" in drawn


def test_a_reference_of_0_is_left_out_of_a_logarithmic_axis(tmp_path: Path) -> None:
    draw(JOB, [_curve("conv1", "coherence", 0.9, 0.01)._replace(optimum=0.0)], tmp_path / "log.svg")
    draw(JOB, [_curve("conv1", "coherence", 0.9, 0.8)._replace(optimum=0.0)], tmp_path / "linear.svg")
    assert "<!-- optimum -->" not in (tmp_path / "log.svg").read_text()
    assert "<!-- optimum -->" in (tmp_path / "linear.svg").read_text()


def test_nan_and_infinity_leave_a_gap(tmp_path: Path) -> None:
    draw(JOB, [_curve("conv1", "mhe_s2", 1.0, math.nan, math.inf, 2.0)], tmp_path / "gap.png")
    assert (tmp_path / "gap.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_to_draw_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="job 7 has no such curves"):
        draw(JOB, [_curve("conv1", "mhe_s2")], tmp_path / "none.png")


def test_an_unknown_format_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="xyz"):
        draw(JOB, [_curve("conv1", "mhe_s2", 1.0)], tmp_path / "picture.xyz")
