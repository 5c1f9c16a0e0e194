"""What lasts ends with the right that it rests on, and is bounded by key; from a real server process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import httpx2
import psycopg
import pytest
from samples import ROOM
from serving import AsUser, Serving, serving, submit
from sqlalchemy import func, make_url, select, update
from waiting import until

from api.streams.access import CHECK
from api.streams.wakeups import LOOK
from hsu_client.client import Client
from hsu_client.problem import Problem
from hsu_jobs import attempts, database, lifecycle, settings
from hsu_jobs.access import keys
from hsu_jobs.states import State
from hsu_jobs.tables import ApiKey, Job, Role

SOON = 4 * (CHECK + LOOK)
"""Seconds within which the end of a right must have been noticed, on a busy machine too."""
MOST = 3


@pytest.fixture
def key(job: int) -> str:
    """A key of ada's that may end."""
    with database.transaction() as session:
        return keys.create(session, user="ada", role=Role.MEMBER)


@pytest.fixture
def holder(server: Serving, key: str) -> Iterator[httpx2.Client]:
    mine = {"Authorization": f"Bearer {key}"}
    with httpx2.Client(base_url=server.url, headers=mine, timeout=60) as client:
        yield client


@pytest.fixture
def running(job: int) -> int:
    """A job with an attempt, so that there is a log to follow."""
    with database.transaction() as session:
        others = session.execute(select(Job.id).where(Job.state == State.QUEUED, Job.id != job)).scalars().all()
        for other in others:
            lifecycle.cancel(session, other)
    with database.transaction() as session:
        claim = attempts.claim(session, ROOM, settings.settings())
        assert claim is not None
        assert claim.job_id == job
    return job


def revoke(key: str) -> None:
    """As an admin does through another process."""
    _change(key, revoked_at=func.now())


def expire(key: str) -> None:
    _change(key, expires_at=func.now())


def rotate(key: str) -> None:
    with database.transaction() as session:
        own = keys.holder(session, key)
        keys.rotate(session, own, overlap=timedelta(0), asked_by=own)


def _change(key: str, **values: object) -> None:
    with database.transaction() as session:
        session.execute(update(ApiKey).where(ApiKey.digest == keys.digest(key)).values(**values))


ENDS: list[tuple[Callable[[str], None], str]] = [(revoke, "revoked"), (expire, "expired"), (rotate, "revoked")]
ends = pytest.mark.parametrize(("end", "how"), ENDS)


@ends
@pytest.mark.parametrize("path", ["events/stream", "curves/stream", "curves/stream?layer=nosuch"])
def test_a_stream_ends_with_its_key_and_says_why(
    holder: httpx2.Client, key: str, job: int, path: str, end: Callable[[str], None], how: str
) -> None:
    with holder.sse(f"/v1/jobs/{job}/{path}") as source:
        assert source.response.status_code == 200
        end(key)
        *_, last = (event for event in source if event.data)
    assert last.event == "unauthorized"
    assert last.json()["code"] == f"key_{how}"
    assert how in last.json()["detail"]
    assert holder.get(f"/v1/jobs/{job}/{path}").status_code == 401


@ends
def test_a_followed_log_ends_with_its_key_and_says_why(
    holder: httpx2.Client, key: str, running: int, end: Callable[[str], None], how: str
) -> None:
    with holder.stream("GET", f"/v1/jobs/{running}/log", params={"follow": True}) as answer:
        assert answer.status_code == 200
        end(key)
        last = list(answer.iter_lines())[-1]
    assert last.startswith("[this log is not followed any longer: ")
    assert how in last


@ends
def test_a_waiting_answer_ends_with_its_key(
    holder: httpx2.Client, key: str, job: int, end: Callable[[str], None], how: str
) -> None:
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(holder.get, f"/v1/jobs/{job}", params={"wait": 60})
        until(lambda: _waits(holder, job))
        end(key)
        answer = waits.result(timeout=SOON)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert how in answer.json()["detail"]


def _waits(holder: httpx2.Client, job: int) -> bool:
    """Whether the server had time to begin the wait: a request that came later was answered."""
    return holder.get(f"/v1/jobs/{job}").status_code == 200


def test_a_client_that_follows_is_told_and_does_not_try_again(server: Serving, key: str, job: int) -> None:
    with Client(server.url, key) as client:
        events = client.follow_events(job)
        assert next(events)["event"]["kind"] == "submitted"
        revoke(key)
        with pytest.raises(Problem) as caught:
            list(events)
    assert (caught.value.status, caught.value.code) == (401, "key_revoked")


# --- the bound of a key -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def narrow(urls: tuple[str, str]) -> Iterator[Serving]:
    """A server at which a key may have a few streams open."""
    with serving(*urls, HSU_STREAMS_PER_KEY=str(MOST)) as server:
        yield server


@contextmanager
def held(client: httpx2.Client, job: int, count: int) -> Iterator[None]:
    """So many streams, of all kinds."""
    reading = []  # an iterator that is dropped closes its stream
    with ExitStack() as opened:
        for number in range(count):
            kind = ("events/stream", "curves/stream", "events/stream")[number % 3]
            source = opened.enter_context(client.sse(f"/v1/jobs/{job}/{kind}"))
            assert source.response.status_code == 200
            reading.append(iter(source))
            if "events" in kind:
                next(reading[-1])
        yield


def test_a_key_has_a_bound_of_streams_and_others_have_their_own(narrow: Serving, as_user: AsUser) -> None:
    with as_user(narrow, "ada") as ada:
        job = submit()
        with held(ada, job, MOST):
            for path, query in (("events/stream", {}), ("curves/stream", {}), ("", {"wait": 5})):
                refused = ada.get(f"/v1/jobs/{job}/{path}".rstrip("/"), params=query)
                assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
                assert refused.headers["retry-after"] == "1"
                assert f"{MOST} are the most" in refused.json()["detail"]
            assert ada.get(f"/v1/jobs/{job}").status_code == 200
            with as_user(narrow, "ada") as other_key, held(other_key, job, MOST):
                pass
        until(lambda: ada.get(f"/v1/jobs/{job}", params={"wait": 0.01}).status_code == 200)


def test_many_followers_of_a_log_take_few_connections(
    server: Serving, urls: tuple[str, str], ada: httpx2.Client, running: int
) -> None:
    name = make_url(urls[0]).database
    address = make_url(urls[0]).set(drivername="postgresql").render_as_string(hide_password=False)
    most, stop = [0], threading.Event()

    def watch() -> None:
        with psycopg.connect(address, autocommit=True) as connection:
            while not stop.is_set():
                (count,) = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state = 'active'", (name,)
                ).fetchone() or (0,)
                most[0] = max(most[0], count)

    with ExitStack() as opened, ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        for _ in range(60):
            follow = ada.stream("GET", f"/v1/jobs/{running}/log", params={"follow": True})
            assert opened.enter_context(follow).status_code == 200
        assert ada.get(f"/v1/jobs/{running}").status_code == 200
        stop.set()
        watching.result(timeout=10)
    assert most[0] <= 12, "readers of streams, requests and this watch"
