"""Commands that stay with jobs: what they end with, and how they are left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from samples import DIGITS, TRAINED
from sqlalchemy.orm import Session

from hsu_client.cli.main import main
from hsu_client.client import Client
from hsu_jobs import attempts
from hsu_jobs.attempts import Claim
from hsu_jobs.outcomes import Succeeded
from hsu_jobs.settings import Settings


@pytest.fixture
def hsu(served: Any) -> Any:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env={"HSU_URL": served.url, "HSU_API_KEY": served.key})

    return run


@pytest.fixture
def succeeded(session: Session, claim: Claim) -> int:
    attempts.settle(session, claim.token, Succeeded(result=TRAINED), Settings())
    session.flush()
    return claim.job_id


def test_waiting_ends_with_0_only_if_all_succeeded(hsu: Any, client: Client, succeeded: int) -> None:
    other = client.submit(DIGITS | {"tags": ["waited"]})["id"]
    client.cancel(other)
    done = hsu("wait", str(succeeded))
    assert (done.exit_code, done.stdout.startswith(f"job {succeeded} · succeeded")) == (0, True)
    both = hsu("wait", str(succeeded), str(other))
    assert both.exit_code == 1
    assert [line.split(" · ")[:2] for line in both.stdout.splitlines()] == [
        [f"job {succeeded}", "succeeded"],
        [f"job {other}", "cancelled"],
    ]
    tagged = hsu("wait", "--tag", "waited")
    assert (tagged.exit_code, tagged.stdout.split(" · ")[0]) == (1, f"job {other}")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "give the IDs of jobs, or --tag"),
        (["1", "--tag", "a"], 2, "give the IDs of jobs, or --tag"),
        (["--tag", "nobody-has-it"], 1, "no job has the tag nobody-has-it"),
        (["999999"], 1, "there is no job 999999"),
    ],
)
def test_what_cannot_be_waited_for_is_said(hsu: Any, arguments: list[str], code: int, said: str) -> None:
    refused = hsu("wait", *arguments)
    assert (refused.exit_code, said in refused.stderr) == (code, True)


def test_ctrl_c_leaves_the_job_and_says_so(served: Any, client: Client, claim: Claim) -> None:
    command = [str(Path(sys.executable).with_name("hsu")), "follow", str(claim.job_id)]
    environment = {**os.environ, "HSU_URL": served.url, "HSU_API_KEY": served.key}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(f"job {claim.job_id} · running")
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
        assert process.wait() == 130
    assert f"no longer following: job {claim.job_id} goes on; `hsu cancel ID` stops one" in told
    assert client.job(claim.job_id)["state"] == "running"
