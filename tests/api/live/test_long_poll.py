"""Answers that wait for another state, from a real server process."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx2
import psutil
import pytest
from serving import AsUser, Serving, cancel, serving, submit
from waiting import until

from hsu_jobs import database, lifecycle

LONG = 50
"""Seconds that nothing takes but an answer that waits for 60."""


def ask(client: httpx2.Client, job: int, **query: Any) -> tuple[str, float]:
    """The state that is answered, and the seconds until then."""
    began = time.monotonic()
    answer = client.get(f"/v1/jobs/{job}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["state"], time.monotonic() - began


def until_connected(server: Serving, count: int) -> None:
    """Return when so many clients are connected."""

    def connected() -> int:
        lines = psutil.Process(server.process.pid).net_connections("tcp")
        return sum(line.status == psutil.CONN_ESTABLISHED for line in lines if line.raddr)

    until(lambda: connected() >= count)


def test_an_answer_waits_until_the_state_is_another(server: Serving, ada: httpx2.Client, job: int) -> None:
    with ThreadPoolExecutor(60) as pool:  # more than there are threads and connections to the database
        waiting: list[Future[tuple[str, float]]] = [pool.submit(ask, ada, job, wait=60) for _ in range(60)]
        until_connected(server, 60)
        assert ask(ada, job)[0] == "queued"
        assert not any(each.done() for each in waiting), "who asks without waiting waits for none of them"
        cancel(job)
        answers = [each.result(timeout=120) for each in waiting]
        assert min(seconds for _, seconds in answers) < LONG, "the news ended it, not the time"
    assert {state for state, _ in answers} == {"cancelled"}


def test_an_answer_waits_no_longer_than_it_may(ada: httpx2.Client, job: int) -> None:
    state, seconds = ask(ada, job, wait=0.5)
    assert state == "queued"
    assert 0.5 <= seconds < LONG


def test_an_answer_waits_only_during_the_state_that_is_named(ada: httpx2.Client, job: int) -> None:
    assert ask(ada, job, wait=60, **{"while": "running"})[1] < LONG
    assert ask(ada, job, wait=0.2, **{"while": "queued"})[1] >= 0.2


def test_news_that_change_nothing_do_not_end_the_wait(ada: httpx2.Client, job: int) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, ada, job, wait=1.5)
        for priority in range(5):
            with database.transaction() as session:
                lifecycle.prioritise(session, job, -priority)
            time.sleep(0.1)
        state, seconds = waiting.result()
    assert (state, seconds > 1.4) == ("queued", True)


@pytest.mark.parametrize("query", [{"wait": -1}, {"wait": 61}, {"wait": "x"}, {"wait": "nan"}, {"while": "x"}])
def test_what_makes_no_sense_is_refused(ada: httpx2.Client, job: int, query: dict[str, Any]) -> None:
    answer = ada.get(f"/v1/jobs/{job}", params=query)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, f"#query/{next(iter(query))}")


def test_whoever_may_not_see_the_job_does_not_wait(server: Serving, job: int, as_user: AsUser) -> None:
    with as_user(server, "bo") as bo:
        began = time.monotonic()
        assert bo.get(f"/v1/jobs/{job}", params={"wait": 60}).status_code == 404
        assert time.monotonic() - began < LONG
    began = time.monotonic()
    assert httpx2.get(f"{server.url}/v1/jobs/{job}", params={"wait": 60}, timeout=60).status_code == 401
    assert time.monotonic() - began < LONG


def test_a_server_that_stops_answers_at_once(urls: tuple[str, str], as_user: AsUser) -> None:
    with serving(*urls) as other, as_user(other, "ada") as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, client, submit(), wait=60)
        until_connected(other, 1)
        other.process.terminate()
        state, seconds = waiting.result(timeout=120)
    assert (state, seconds < LONG) == ("queued", True)
