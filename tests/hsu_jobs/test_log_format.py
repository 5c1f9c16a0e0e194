"""Log lines, for people and for machines."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from hsu_jobs import log_format
from hsu_jobs.log_format import About
from hsu_jobs.settings import Settings


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str], settings: Settings) -> list[str]:
    log_format.set_up(settings)
    logger = logging.getLogger("worker.supervisor")
    logger.info("it serves %s", "cpu:0")
    About(logger, {"job": 7, "attempt": 2}).warning("it is %s", "gone")
    logger.debug("nobody sees this")
    return capsys.readouterr().err.splitlines()


def test_for_people_a_line_says_when_what_and_of_which_attempt(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = lines(capsys, Settings())
    assert first.endswith("INFO worker.supervisor: it serves cpu:0")
    assert second.endswith("WARNING worker.supervisor: job 7 attempt 2: it is gone")


def test_what_the_server_silenced_stays_silent_and_the_rest_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    silenced, heard = logging.getLogger("uvicorn.access"), logging.getLogger("uvicorn")
    silenced.handlers, silenced.propagate = [], False  # as uvicorn does with --no-access-log
    heard.handlers, heard.propagate = [logging.StreamHandler()], False
    log_format.set_up(Settings())
    silenced.info("GET /v1/jobs")
    heard.warning("it starts")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("WARNING uvicorn: it starts")
    silenced.propagate = True


def test_for_machines_a_line_is_an_object_with_fields(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (json.loads(line) for line in lines(capsys, Settings(log_format="json")))
    assert {**first, "time": ""} == {
        "time": "", "level": "INFO", "logger": "worker.supervisor", "message": "it serves cpu:0", "service": "hsu"
    }  # fmt: skip
    assert {**second, "time": ""} == {
        "time": "", "level": "WARNING", "logger": "worker.supervisor", "message": "it is gone", "service": "hsu",
        "job": 7, "attempt": 2,
    }  # fmt: skip


def test_times_are_in_utc_to_the_millisecond_whatever_the_zone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        text, _ = lines(capsys, Settings())
        machine = json.loads(lines(capsys, Settings(log_format="json"))[0])
    finally:
        monkeypatch.undo()
        time.tzset()
    for written in (text.split()[0], machine["time"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", written)
        assert abs(datetime.fromisoformat(written).timestamp() - time.time()) < 60


def test_a_users_name_makes_no_line_of_its_own_and_moves_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    log_format.set_up(Settings())
    forged = "x\n2026-11-27T00:00:00.000Z INFO api: all is well\x1b[2J\u202e"
    logging.getLogger("api").warning("the name is %s", forged)
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("the name is x")
    assert second == r"    2026-11-27T00:00:00.000Z INFO api: all is well\x1b[2J\u202e"
