"""Wakeups streams of events, from a real server process over a real Postgres and a real Redis."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlparse

import httpx2
import psutil
import pytest
from cutting import cut
from redis import Redis
from serving import AsUser, Seen, Serving, cancel, serving, streaming, submit

from hsu_jobs import database, event_log
from hsu_jobs.events import Damaged, Prioritised


def happen(job_id: int, number: int) -> None:
    """Something that happens to a job, and says which it is."""
    with database.transaction() as session:
        event_log.record(session, job_id, Prioritised(priority=number))


@contextmanager
def stream(client: httpx2.Client, job_id: int, *, after: str | None = None) -> Iterator[Iterator[Seen]]:
    with streaming(client, f"/v1/jobs/{job_id}/events/stream", after=after) as events:
        yield events


def numbers(seen: list[Seen]) -> list[int]:
    return [data["event"]["priority"] for _, name, data in seen if name == "prioritised"]


def test_a_job_that_ended_long_ago_is_told_whole_and_at_once(ada: httpx2.Client, job: int) -> None:
    cancel(job)
    page = ada.get(f"/v1/jobs/{job}/events").json()["events"]
    with stream(ada, job) as events:
        seen = list(events)
    assert [(int(place), name) for place, name, _ in seen[:-1]] == [
        (event["id"], event["event"]["kind"]) for event in page
    ]
    assert [data for *_, data in seen[:-1]] == page
    assert seen[-1][1:] == ("end", {"job": job, "state": "cancelled"})


def test_what_happens_is_sent_as_it_is_committed_and_the_end_closes(ada_rung_only: httpx2.Client, job: int) -> None:
    with stream(ada_rung_only, job) as events:
        assert next(events)[1] == "submitted"
        for number in range(5):
            happen(job, number)
            assert next(events)[2]["event"]["priority"] == number
        cancel(job)
        assert [name for _, name, _ in events] == ["cancelled", "end"]


def test_a_stream_goes_on_after_the_event_that_it_is_told(ada: httpx2.Client, job: int) -> None:
    for number in range(4):
        happen(job, number)
    with stream(ada, job) as events:
        first = [next(events) for _ in range(3)]
    cancel(job)
    with stream(ada, job, after=first[-1][0]) as events:
        rest = list(events)
    assert numbers(first + rest) == [0, 1, 2, 3]
    assert ada.get(f"/v1/jobs/{job}/events/stream", headers={"Last-Event-ID": rest[-2][0]}).text.count("event:") == 1


@pytest.mark.parametrize("place", ["x", "-1", "1.5", "1:2", "", "99999999999999999999", "9" * 18, "½"])
def test_a_place_that_is_none_of_the_jobs_is_refused(ada: httpx2.Client, job: int, place: str) -> None:
    answer = ada.get(f"/v1/jobs/{job}/events/stream", headers={"Last-Event-ID": place.encode()})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert f"expected the id of one of job {job}'s events, found" in answer.json()["detail"]


def test_another_jobs_event_is_no_place(ada: httpx2.Client, job: int) -> None:
    (event,) = ada.get(f"/v1/jobs/{submit()}/events").json()["events"]
    answer = ada.get(f"/v1/jobs/{job}/events/stream", headers={"Last-Event-ID": str(event["id"])})
    assert answer.status_code == 400


def test_problems_come_before_the_stream(server: Serving, ada: httpx2.Client, job: int, as_user: AsUser) -> None:
    with as_user(server, "bo") as bo:
        answer = bo.get(f"/v1/jobs/{job}/events/stream")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert ada.get("/v1/jobs/0/events/stream").status_code == 400
    assert httpx2.get(f"{server.url}/v1/jobs/{job}/events/stream").status_code == 401


def test_readers_that_break_off_at_random_lose_nothing_and_see_nothing_twice(
    ada: httpx2.Client, job: int, urls: tuple[str, str]
) -> None:
    """While events are committed by several at once, and Redis forgets all that it knows."""
    count, writers = 150, 3

    def write(number: int) -> None:
        for turn in range(number, count, writers):
            happen(job, turn)
            if turn % 30 == 0:
                with Redis.from_url(urls[1]) as redis:
                    redis.flushdb()
                    cut(redis, "pubsub")

    def read(patience: int) -> list[Seen]:
        seen: list[Seen] = []
        while not seen or seen[-1][1] != "end":
            with stream(ada, job, after=seen[-1][0] if seen else None) as events:
                for event, _ in zip(events, range(patience), strict=False):
                    seen.append(event)
        return seen

    with ThreadPoolExecutor(writers + 4) as pool:
        readers = [pool.submit(read, patience) for patience in (1, 3, 7, 10**6)]
        for written in [pool.submit(write, number) for number in range(writers)]:
            written.result()
        cancel(job)
        for reader in readers:
            seen = reader.result(timeout=120)
            assert sorted(numbers(seen)) == list(range(count))
            assert [name for _, name, _ in seen[-2:]] == ["cancelled", "end"]
            ids = [int(place) for place, name, _ in seen if name != "end"]
            assert ids == sorted(set(ids))


def test_many_streams_of_one_job_are_told_the_same(ada: httpx2.Client, job: int) -> None:
    """More than there are threads and connections to the database: who waits holds neither."""

    def read(_: int) -> list[Seen]:
        with stream(ada, job) as events:
            ready.release()
            return list(events)

    ready = threading.Semaphore(0)
    with ThreadPoolExecutor(50) as pool:
        readers = [pool.submit(read, number) for number in range(50)]
        for _ in readers:
            ready.acquire()
        assert ada.get("/readyz").is_success
        for number in range(20):
            happen(job, number)
        cancel(job)
        seen = [reader.result(timeout=60) for reader in readers]
    assert numbers(seen[0]) == list(range(20))
    assert all(each == seen[0] for each in seen)


def test_more_requests_at_once_than_there_are_threads_and_connections_are_all_answered(
    ada: httpx2.Client, job: int
) -> None:
    with ThreadPoolExecutor(150) as pool:
        answers = [pool.submit(ada.get, f"/v1/jobs/{job}") for _ in range(300)]
        assert {answer.result(timeout=60).status_code for answer in answers} == {200}


@contextmanager
def asleep(server: Serving, client: httpx2.Client, job: int) -> Iterator[socket.socket]:
    """A watcher that reads only when it is told to."""
    address = urlparse(server.url)
    request = f"GET /v1/jobs/{job}/events/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=60) as idle:
        idle.sendall(f"{request}Authorization: {client.headers['authorization']}\r\n\r\n".encode())
        yield idle


def happen_at_length(job: int) -> None:
    for number in range(1000):
        with database.transaction() as session:
            event_log.record(session, job, Damaged(step=number, message="x" * 16_000))


def test_a_reader_that_pauses_costs_no_memory_and_loses_nothing(server: Serving, ada: httpx2.Client, job: int) -> None:
    """Its events are 16 kB each, 16 MB in all: more than the sockets between us hold."""
    process = psutil.Process(server.process.pid)
    with asleep(server, ada, job) as idle:
        received = idle.recv(100)
        before = process.memory_info().rss
        with stream(ada, job) as awake:
            happen_at_length(job)
            cancel(job)
            assert sum(name == "damaged" for _, name, _ in awake) == 1000
        grown = process.memory_info().rss - before
        parts = [received]
        while part := idle.recv(1 << 20):
            parts.append(part)
    assert grown < 10e6
    text = b"".join(parts)
    assert [text.count(f'"step":{number},'.encode()) for number in range(1000)] == [1] * 1000
    assert b"event: end" in text


def test_a_stream_outlives_a_redis_that_is_away(urls: tuple[str, str], as_user: AsUser) -> None:
    with serving(urls[0], "redis://127.0.0.1:1/0") as deaf, as_user(deaf, "ada") as client:
        job = submit()
        with stream(client, job) as events:
            assert next(events)[1] == "submitted"
            happen(job, 1)
            assert numbers([next(events)]) == [1]
            cancel(job)
            assert [name for _, name, _ in events] == ["cancelled", "end"]


def test_streams_end_when_the_server_does_and_are_resumed_at_the_next(urls: tuple[str, str], as_user: AsUser) -> None:
    with serving(*urls, grace=500) as first, as_user(first, "ada") as client:
        job = submit()
        with ThreadPoolExecutor(1) as pool, stream(client, job) as events:
            seen = [next(events)]
            rest = pool.submit(list, events)
            first.process.terminate()
            assert rest.result(timeout=120) == []
            first.process.wait(timeout=120)  # long before its grace is over
    happen(job, 1)
    cancel(job)
    with serving(*urls) as second, as_user(second, "ada") as client, stream(client, job, after=seen[-1][0]) as events:
        assert [name for _, name, _ in events] == ["prioritised", "cancelled", "end"]


def test_a_reader_that_sleeps_does_not_keep_the_server_beyond_its_grace(urls: tuple[str, str], as_user: AsUser) -> None:
    with serving(*urls, grace=2) as server, as_user(server, "ada") as client:
        job = submit()
        happen_at_length(job)
        with asleep(server, client, job) as idle:
            assert idle.recv(100)
            server.process.terminate()
            server.process.wait(timeout=120)  # the reader would sleep on
