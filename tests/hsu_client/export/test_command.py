"""`hsu export` as people type it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update
from sqlalchemy.orm import Session

from hsu_client.cli.main import main
from hsu_jobs.tables import Job


@pytest.fixture
def hsu(served: Any) -> Any:
    def run(*arguments: str) -> Result:
        environment = {"HSU_URL": served.url, "HSU_API_KEY": served.key}
        return CliRunner().invoke(main, ["export", *arguments], env=environment)

    return run


def test_jobs_are_taken_to_files(hsu: Any, job_id: int, tmp_path: Path) -> None:
    done = hsu(str(job_id), "--to", "tensorboard", str(tmp_path / "tb"))
    assert done.output == f"job {job_id}: {tmp_path}/tb/{job_id}-digits-with-mhe\n"
    assert list((tmp_path / "tb").glob("*/events.out.tfevents.*"))
    assert hsu(str(job_id), "--to", "wandb-jsonl", str(tmp_path / "wb")).exit_code == 0
    assert hsu(str(job_id), "--to", "wandb-jsonl", str(tmp_path / "one.jsonl")).exit_code == 0
    whole = next((tmp_path / "wb").glob("*/wandb-history.jsonl")).read_text()
    assert whole == (tmp_path / "one.jsonl").read_text()
    assert json.loads(whole.splitlines()[-1])["_step"] == 5


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own
@pytest.mark.parametrize(
    "spec", [{"version": 9, "tree": {"of": "tomorrow"}}, {"regularizer": {"kind": "of_tomorrow"}}, [1], "text"]
)
def test_a_job_with_a_spec_of_another_version_is_taken_as_it_is_stored(
    hsu: Any, session: Session, job_id: int, tmp_path: Path, spec: object
) -> None:
    session.execute(update(Job).where(Job.id == job_id).values(spec=spec))
    for target in (("tensorboard", "tb"), ("mlflow", "ml.db"), ("wandb-jsonl", "wb")):
        where = f"sqlite:///{tmp_path}/ml.db" if target[0] == "mlflow" else str(tmp_path / target[1])
        done = hsu(str(job_id), "--to", target[0], where)
        assert done.exit_code == 0, done.output
    config = json.loads(next((tmp_path / "wb").glob("*/config.yaml")).read_text())
    assert {name: each["value"] for name, each in config.items() if name != "hsu"} == (
        spec if isinstance(spec, dict) else {"stored": spec}
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["1", "2", "--to", "wandb-jsonl", "one.jsonl"], "one.jsonl holds one job"),
        (["999999", "--to", "wandb-jsonl", "x"], "there is no job 999999"),
        (["1", "--to", "excel", "x"], "'excel' is not one of"),
    ],
)
def test_what_is_not_possible_is_said(hsu: Any, arguments: list[str], said: str) -> None:
    result = hsu(*arguments)
    assert result.exit_code != 0
    assert said in result.stderr


def test_a_tool_that_is_not_installed_is_named(served: Any) -> None:
    program = "import sys; sys.modules['tensorboard'] = None; from hsu_client.cli.main import main; main()"
    arguments = ["export", "1", "--to", "tensorboard", "x"]
    environment = {"HSU_URL": served.url, "HSU_API_KEY": served.key}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "install the `tensorboard` extra" in done.stderr


def test_the_client_loads_no_tool_before_it_is_asked_for() -> None:
    program = "import sys, hsu_client.cli.main; print({'tensorboard', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
