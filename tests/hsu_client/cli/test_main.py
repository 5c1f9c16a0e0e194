"""`hsu` as people type it, against the real API."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from hsu_client.cli.main import main
from hsu_core.outcomes import Saved
from hsu_jobs import attempts
from hsu_jobs.artifacts import logs
from hsu_jobs.attempts import Claim
from hsu_jobs.cluster import workers
from hsu_jobs.outcomes import Released
from hsu_jobs.settings import Settings
from hsu_jobs.tables import Job, Worker

SPEC = str(Path(__file__).parents[3] / "examples" / "digits-mhe.json")


@pytest.fixture
def hsu(served: Any) -> Any:
    def run(*arguments: str, **options: Any) -> Result:
        environment = {"HSU_URL": served.url, "HSU_API_KEY": served.key} | options.pop("env", {})
        return CliRunner().invoke(main, arguments, env=environment, **options)

    return run


def _submitted(hsu: Any) -> str:
    return str(json.loads(hsu("submit", "--json", SPEC).stdout)["id"])


def test_submit_says_which_job_it_is(hsu: Any) -> None:
    assert re.match(r"job \d+ · queued · step 0 of \d+", hsu("submit", SPEC).stdout)


def test_submit_reads_standard_input(hsu: Any) -> None:
    assert hsu("submit", "-", input=Path(SPEC).read_text()).exit_code == 0


def test_submit_takes_a_recipe_by_name_and_a_file_replaces_its_fields(hsu: Any, tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text(
        '{"duration": {"steps": 7}, "dataset": {"kind": "digits"}, "model": {"kind": "mlp"}, "batch_norm": null}'
    )
    made = json.loads(hsu("submit", "--recipe", "cifar100-half-mhe-s2-short", "--seed", "3", "--json", str(own)).stdout)
    assert (made["name"], made["spec"]["seed"]) == ("cifar100-half-mhe-s2-short", 3)
    assert made["tags"] == ["recipe:cifar100-half-mhe-s2-short:1"]
    assert (made["spec"]["duration"]["steps"], made["spec"]["dataset"]["kind"]) == (7, "digits")
    assert made["spec"]["loss"]["softmax_floor"] == 1e-4


def test_submit_of_a_recipe_that_does_not_exist_names_similar_ones(hsu: Any) -> None:
    refused = hsu("submit", "--recipe", "cifar100-mhe-s3")
    assert refused.exit_code == 2
    assert "there is no recipe 'cifar100-mhe-s3'; there are cifar100-mhe-s" in refused.stderr
    assert "give a FILE, or --recipe NAME" in hsu("submit").stderr


def test_submit_with_a_key_twice_gives_one_job(hsu: Any) -> None:
    first, second = (hsu("submit", "--json", "--idempotency-key", "cli", SPEC).stdout for _ in range(2))
    assert json.loads(first)["id"] == json.loads(second)["id"]


def test_show_tells_of_a_job_in_words_or_as_json(hsu: Any) -> None:
    job = _submitted(hsu)
    assert "owner      ada" in hsu("show", job).stdout
    assert json.loads(hsu("show", "--json", job).stdout)["id"] == int(job)


def test_a_job_with_a_spec_of_a_newer_version_is_shown_listed_and_cancelled(hsu: Any, session: Session) -> None:
    job, other = _submitted(hsu), _submitted(hsu)
    stored = json.loads(Path(SPEC).read_text()) | {"version": 9}
    session.execute(update(Job).where(Job.id == int(job)).values(spec=stored))
    shown = hsu("show", job)
    assert shown.exit_code == 0
    assert "written by spec version 9; this service reads the versions 1 to " in shown.stdout
    assert json.loads(hsu("show", "--json", job).stdout)["spec"] == stored
    lines = hsu("list", "--limit", "2").stdout.splitlines()
    assert [line.split(" · ")[0] for line in lines] == [f"job {other}", f"job {job}"]
    assert "spec not readable" in lines[1]
    assert f"job {job} · cancelled" in hsu("cancel", job).stdout
    refused = hsu("retry", job)
    assert (refused.exit_code, "cannot read the stored spec" in refused.stderr) == (1, True)


def test_list_shows_the_newest_first_and_no_more_than_asked(hsu: Any) -> None:
    job = _submitted(hsu)
    lines = hsu("list", "--limit", "1").stdout.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"job {job} ")


def test_list_chooses_and_sorts(hsu: Any, tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    for name in ("x2", "x1"):
        file.write_text(json.dumps(json.loads(Path(SPEC).read_text()) | {"name": name, "tags": ["cli-list"]}))
        assert hsu("submit", str(file)).exit_code == 0
    lines = hsu("list", "--tag", "cli-list", "--regularizer", "mhe", "--sort", "name").stdout.splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["x1", "x2"]
    assert hsu("list", "--tag", "cli-list", "--where", "test_accuracy:gt:0").stdout == ""
    refused = hsu("list", "--sort", "beauty")
    assert (refused.exit_code, "a parameter is not valid" in refused.stderr) == (1, True)


def test_a_dry_run_prints_what_the_job_would_cost(hsu: Any) -> None:
    _submitted(hsu)
    shown = hsu("submit", "--dry-run", SPEC).stdout
    for words in (
        "parameters 14,4",
        "GFLOP",
        "memory",
        "waiting    no worker",
        "no like job has run yet",
        "duplicates",
    ):
        assert words in shown
    assert json.loads(hsu("submit", "--dry-run", "--json", SPEC).stdout)["total_steps"] == 220


def test_submit_says_that_the_same_was_asked_before(hsu: Any) -> None:
    job = _submitted(hsu)
    assert f"jobs with the same result: {job}" in hsu("submit", SPEC).stderr


def test_follow_ends_with_1_when_the_job_did_not_succeed(hsu: Any) -> None:
    job = _submitted(hsu)
    assert "cancelled" in hsu("cancel", job).stdout
    followed = hsu("follow", job)
    assert followed.exit_code == 1
    assert "cancelled" in followed.stdout


def test_events_are_printed_and_followed(hsu: Any) -> None:
    job = _submitted(hsu)
    hsu("prioritise", job, "-2")
    hsu("cancel", job)
    printed = hsu("events", job).stdout
    assert [line.split()[1:] for line in printed.splitlines()] == [
        ["submitted"],
        ["prioritised", "priority", "-2"],
        ["cancelled"],
    ]
    assert hsu("events", job, "--follow").stdout == printed
    told = [json.loads(line) for line in hsu("events", job, "--follow", "--json").stdout.splitlines()]
    assert [event["event"]["kind"] for event in told] == ["submitted", "prioritised", "cancelled"]


def test_a_job_is_paused_resumed_prioritised_and_retried(hsu: Any) -> None:
    job = _submitted(hsu)
    assert " · paused · " in hsu("pause", job).stdout
    assert " · queued · " in hsu("resume", job).stdout
    assert " · queued · " in hsu("prioritise", job, "-7").stdout
    assert json.loads(hsu("show", "--json", job).stdout)["priority"] == -7
    assert "waiting    no worker of pool 'default' takes jobs just now" in hsu("show", job).stdout
    hsu("cancel", job)
    assert json.loads(hsu("retry", "--json", job).stdout)["id"] != int(job)


def test_a_fork_is_queued_with_its_change(hsu: Any, session: Session, claim: Claim, served: Any) -> None:
    state = Saved(3, Path("unused"), "ab" * 32, 1000, 0.25, is_best=True)
    (served.artifacts / "a-file").touch()  # a fork asks whether it is there
    attempts.progress(session, claim.token, step=3, saved=[(state, "a-file")])
    session.flush()
    job = str(claim.job_id)
    head, row = hsu("checkpoints", job).stdout.splitlines()
    assert head.split() == ["step", "attempt", "size", "metric", "saved"]
    assert row.split()[:6] == ["3", "1", "1.0", "kB", "0.25", "best"]
    forked = json.loads(hsu("fork", job, "--step", "3", "--change", '{"name": "other"}', "--json").stdout)
    assert (forked["name"], forked["parent"]) == ("other", {"id": claim.job_id, "step": 3})
    assert "from       job" in hsu("show", str(forked["id"])).stdout
    assert "there are those of steps 3" in hsu("fork", job, "--step", "4").stderr


def test_a_log_is_printed_and_followed(hsu: Any, session: Session, claim: Claim) -> None:
    logs.append(session, claim.token, 0, b"one\ntwo\n", limit=1000)
    assert hsu("log", str(claim.job_id), "--tail", "1").stdout == "two\n"
    attempts.settle(session, claim.token, Released(), Settings())
    session.flush()
    assert hsu("log", str(claim.job_id), "--follow", "--attempt", "1").stdout == "one\ntwo\n"
    assert "no attempt 2" in hsu("log", str(claim.job_id), "--attempt", "2").stderr


def test_the_cluster_is_shown_and_an_admin_changes_it(hsu: Any, session: Session, served: Any) -> None:
    job = _submitted(hsu)
    workers.register(session, "box", pool="default", devices=["cpu:0"], slots=1)
    root = {"HSU_API_KEY": served.admin_key}
    assert hsu("worker", "drain", "box", "--now", env=root).stdout.split()[5:] == (
        ["box", "default", "0", "of", "1", "draining", "cpu:0"]
    )
    assert "draining" in hsu("workers").stdout
    assert "active" in hsu("worker", "restore", "box", env=root).stdout
    queue = hsu("queue", "--pool", "default").stdout
    assert queue.splitlines()[0].split() == ["pool", "workers", "slots", "busy", "waiting"]
    assert re.search(rf"^default \d+ +{job} ", queue, re.MULTILINE)
    assert int(job) in [place["job"] for place in json.loads(hsu("queue", "--json").stdout)["places"]]
    assert "5" in hsu("user", "ada", "--share", "5", "--max-gpus", "none", "--max-waiting", "99", env=root).stdout
    assert hsu("users").stdout.splitlines()[1].split()[:5] == ["ada", "5", "0", "of", "any"]
    hsu("user", "ada", "--share", "1", "--max-waiting", "none", env=root)
    session.execute(delete(Worker))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resume", "JOB"], "the job is queued: resume is not possible"),
        (["fork", "JOB", "--change", "{"], "--change is not valid JSON"),
        (["fork", "JOB", "--change", "[]"], "--change: expected a JSON object, found []"),
        (["fork", "JOB"], "has no checkpoint to go on from"),
        (["log", "JOB"], "has no attempt yet: it is queued"),
        (["prioritise", "JOB", "5"], "members may ask for a priority of 0 at most, found 5"),
        (["worker", "drain", "box"], "this needs an admin's key, found a member's"),
        (["user", "ada", "--max-waiting", "-1"], "--max-waiting: expected a number or none, found '-1'"),
        (["user", "ada", "--max-gpus", "many"], "--max-gpus: expected a number or none, found 'many'"),
    ],
)
def test_what_is_not_possible_is_said_in_one_line(hsu: Any, arguments: list[str], said: str) -> None:
    job = _submitted(hsu)
    result = hsu(*(job if word == "JOB" else word for word in arguments))
    assert result.exit_code == 1
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_curves_of_a_job_that_has_none_are_an_empty_table(hsu: Any) -> None:
    job = _submitted(hsu)
    head = ["layer", "measure", "points", "first", "last", "random", "optimum", "bound", "proven", "by"]
    assert hsu("curves", job, "--relative-to", "bound").stdout.split() == head
    head = ["layer", "measure", "step", "value", "random", "optimum", "bound", "bound_source"]
    assert list(csv.reader(io.StringIO(hsu("curves", "--csv", job).stdout))) == [head]


def test_every_point_goes_into_a_file_of_the_kind_that_its_name_says(hsu: Any, tmp_path: Path) -> None:
    job = _submitted(hsu)
    hsu("curves", job, "--save", str(tmp_path / "points.csv"))
    assert (tmp_path / "points.csv").read_text().split() == ['"job","layer","measure","step","time","value"']
    hsu("curves", job, "--save", str(tmp_path / "points.parquet"))
    assert (tmp_path / "points.parquet").read_bytes().startswith(b"PAR1")


def test_a_plot_without_curves_says_so(hsu: Any, tmp_path: Path) -> None:
    result = hsu("plot", _submitted(hsu), str(tmp_path / "none.png"))
    assert result.exit_code == 1
    assert "has no such curves" in result.stderr


def test_the_catalog_is_json(hsu: Any) -> None:
    assert "datasets" in json.loads(hsu("catalog").stdout)


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["catalog"], {"HSU_API_KEY": ""}, "no API key: set HSU_API_KEY"),
        (["catalog"], {"HSU_API_KEY": "wrong"}, "unknown, expired or revoked"),
        (["catalog"], {"HSU_URL": "http://127.0.0.1:9"}, "no answer from http://127.0.0.1:9"),
        (["catalog"], {"HSU_URL": "http://[broken"}, "broken"),
        (["catalog"], {"HSU_URL": "no-scheme"}, "http"),
        (["show", "999999999"], {}, "999999999"),
    ],
)
def test_an_error_is_one_line_on_stderr_and_status_1(
    hsu: Any, arguments: list[str], environment: dict[str, str], said: str
) -> None:
    result = hsu(*arguments, env=environment)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_file_that_is_not_json_says_where_it_breaks(hsu: Any, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text('{"dataset": }')
    result = hsu("submit", str(spec))
    assert result.exit_code == 1
    assert "spec.json is not valid JSON: Expecting value: line 1 column 13" in result.stderr


def test_the_client_needs_neither_torch_nor_a_database_driver() -> None:
    program = "import sys, hsu_client.cli.main; print({'torch', 'sqlalchemy', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def _commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in group.commands.items():
        yield from _commands(command, *path, name) if isinstance(command, click.Group) else [(*path, name)]


def test_the_help_of_every_command_and_the_version_need_no_key(hsu: Any) -> None:
    commands = list(_commands(main))
    assert len(commands) > 30
    for path in commands:
        helped = hsu(*path, "--help", env={"HSU_API_KEY": ""})
        assert (helped.exit_code, helped.stdout.startswith("Usage: ")) == (0, True), path
    shown = hsu("--version", env={"HSU_API_KEY": ""})
    assert (shown.exit_code, shown.stdout) == (0, f"main {version('hsu-service')}\n")


def test_every_wrong_field_of_a_spec_is_shown_with_near_choices(hsu: Any, tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    wrong = {"regularizer": {"kind": "mhee"}, "seed": -1, "batch_size": "many"}
    file.write_text(json.dumps(json.loads(Path(SPEC).read_text()) | wrong), encoding="utf-8")
    refused = hsu("submit", str(file))
    assert refused.exit_code == 1
    head, *fields = refused.stderr.splitlines()
    assert head.startswith(
        "Error: The spec is not valid: /regularizer: there is no regularizer 'mhee' here; did you mean "
    )
    assert [line.split(": ")[0] for line in fields] == ["  /regularizer", "  /seed", "  /batch_size"]


def test_a_wrong_parameter_is_shown_with_near_choices(hsu: Any) -> None:
    refused = hsu("list", "--state", "runing")
    assert refused.exit_code == 1
    assert "there is no state 'runing' here; did you mean running? there are queued, " in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
