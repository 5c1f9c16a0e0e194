"""Studies on the whole service: every command of the tutorial, with what its files and tables must hold."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from how_to import follow

from hsu_client.client import Client


@pytest.fixture(scope="module")
def done(service: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the tutorial was followed."""
    folder = tmp_path_factory.mktemp("tutorial")
    follow("tutorial-study.md", service, folder)
    return folder


def test_the_tutorial_leads_to_a_compared_study(done: Path, service: dict[str, str]) -> None:
    rows = list(csv.DictReader(done.joinpath("table.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["cell"] for row in rows if row["metric"] == "test_accuracy"] == ["baseline", "mhe", "mgd"]
    assert {row["same_start"] for row in rows if row["pairs"]} == {"7"}
    for name in ("accuracy.svg", "cost.png", "curves.png", "strengths.svg", "report.html"):
        assert done.joinpath(name).stat().st_size > 5_000
    page = done.joinpath("report.html").read_text(encoding="utf-8")
    assert "http" not in re.sub(r"http://www\.w3\.org/\S+|https?://(matplotlib|purl|creativecommons)\.org\S*", "", page)
    with Client(service["url"], service["key"]) as client:
        first, second = client.studies.table(1), client.studies.show(2)
        jobs = {run["cell"]: run["job"] for run in first["runs"] if run["seed"] == 0}
        assert client.compare(jobs["mhe"], jobs["baseline"])["examples"] == 360
    assert [cell["n"] for cell in first["metrics"][0]["cells"]] == [8, 8, 8, 8]
    assert any("Extended by seeds 7 and arms mhs" in note for note in first["notes"])
    assert second["runs"] == {"succeeded": 24}


def test_arms_of_equal_strength_have_the_gradients_that_were_asked_for(done: Path, service: dict[str, str]) -> None:
    assert yaml.safe_load(done.joinpath("digits.yaml").read_text())["strength"] == {"gradient_ratio": 0.1}
    with Client(service["url"], service["key"]) as client:
        runs = client.studies.table(1)["runs"]
        factors = {run["cell"]: client.job(run["job"])["result"].get("strength") for run in runs}
    assert factors["baseline"] is None
    assert factors["mhe"]["factor"] != factors["mgd"]["factor"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX is installed")
def test_the_table_is_set_by_a_real_tex(done: Path, tmp_path: Path) -> None:
    table = done.joinpath("table.tex").read_text(encoding="utf-8")
    document = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{table}\end{{document}}"
    tmp_path.joinpath("page.tex").write_text(document, encoding="utf-8")
    ran = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
