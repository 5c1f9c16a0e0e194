"""`hsu study` on a terminal, without a worker: what is queued, shown, changed and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from samples import DIGITS

from hsu_client.cli.main import main

STUDY: dict[str, Any] = {
    "name": "does it help?",
    "base": {name: value for name, value in DIGITS.items() if name not in ("name", "regularizer")},
    "arms": {"mhe": {"regularizer": {"kind": "mhe"}}},
    "seeds": 2,
    "reuse": False,
}


@pytest.fixture
def hsu(served: Any) -> Any:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env={"HSU_URL": served.url, "HSU_API_KEY": served.key})

    return run


@pytest.fixture
def study(hsu: Any, tmp_path: Path) -> str:
    """The id of a study that waits."""
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    made = hsu("study", "submit", str(file), "--json")
    assert made.exit_code == 0, made.output
    return str(json.loads(made.stdout)["id"])


def test_a_study_is_quoted_and_queued_from_a_file(hsu: Any, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    quoted = hsu("study", "submit", str(file), "--dry-run")
    assert "jobs       4, of which 0 are there already and 4 are new" in quoted.stdout
    assert "baseline" in quoted.stdout
    made = hsu("study", "submit", str(file))
    assert made.stdout.splitlines()[1] == "4 runs: 4 queued · 0 s of GPU time spent"


def test_a_study_is_listed_shown_paused_resumed_cancelled_and_deleted(hsu: Any, study: str) -> None:
    assert f"study {study} · ada · does it help?" in hsu("study", "list").stdout
    assert "4 runs: 4 queued" in hsu("study", "show", study).stdout
    assert "4 runs: 4 paused" in hsu("study", "pause", study).stdout
    assert "4 runs: 4 queued" in hsu("study", "resume", study).stdout
    assert "6 runs: 6 queued" in hsu("study", "extend", study, "--seeds", "1").stdout
    refused = hsu("study", "delete", study)
    assert (refused.exit_code, "cancel the study first" in refused.stderr) == (1, True)
    assert "6 runs: 6 cancelled" in hsu("study", "cancel", study).stdout
    again = hsu("study", "retry", study)
    assert "6 runs: 6 queued" in again.stdout
    hsu("study", "cancel", study)
    assert hsu("study", "delete", study).stdout == f"deleted study {study}; its jobs stay\n"


def test_the_table_of_a_study_that_has_no_values_yet_says_so(hsu: Any, study: str, tmp_path: Path) -> None:
    assert "| mhe | – |" in hsu("study", "table", study).stdout
    assert json.loads(hsu("study", "table", study, "--format", "json").stdout)["study"] == int(study)
    drawn = hsu("study", "figure", study, str(tmp_path / "figure.svg"))
    assert (drawn.exit_code, "no run of study" in drawn.stderr) == (1, True)
    assert "no two runs of one seed keep" in hsu("study", "examples", study).stdout
    assert hsu("study", "report", study, str(tmp_path / "report.html")).exit_code == 0


def test_what_is_wrong_with_a_file_is_said(hsu: Any, study: str, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("arms: [", encoding="utf-8")
    assert "is not valid YAML" in hsu("study", "submit", str(file)).stderr
    file.write_text(yaml.safe_dump(STUDY | {"over": {"/optimizer/rate": [1]}}), encoding="utf-8")
    assert "/over/~1optimizer~1rate/0" in hsu("study", "submit", str(file)).stderr
    assert hsu("study", "extend", study).exit_code == 2
    nobody = hsu("study", "enlist", study, "ours", "--tag", "nobody-has-it")
    assert (nobody.exit_code, "nobody-has-it" in nobody.stderr) == (1, True)
