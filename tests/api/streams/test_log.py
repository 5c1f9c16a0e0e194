"""Logs over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.streams import log
from hsu_jobs import attempts, database, settings
from hsu_jobs.artifacts import logs
from hsu_jobs.attempts import Claim
from hsu_jobs.outcomes import Released

Submit = Callable[..., dict[str, Any]]
Start = Callable[[], Claim]


@pytest.fixture
def claim(ada: TestClient, submit: Submit, start: Start) -> Claim:
    """A running attempt."""
    submit(ada)
    return start()


@pytest.fixture
def url(claim: Claim) -> str:
    return f"/v1/jobs/{claim.job_id}/log"


def write(claim: Claim, first_byte: int, content: bytes, *, limit: int = 1000) -> None:
    with database.transaction() as session:
        logs.append(session, claim.token, first_byte, content, limit=limit)


def settle(claim: Claim) -> None:
    with database.transaction() as session:
        attempts.settle(session, claim.token, Released(), settings.settings())


def test_a_log_is_read_on_from_where_one_was(ada: TestClient, claim: Claim, url: str) -> None:
    write(claim, 0, b"one\ntwo\n")
    first = ada.get(url)
    assert (first.text, first.headers["content-type"]) == ("one\ntwo\n", "text/plain; charset=utf-8")
    assert [first.headers[f"hsu-{name}"] for name in ("attempt", "first-byte", "next-byte")] == ["1", "0", "8"]
    assert ada.get(url, params={"from_byte": 8}).text == ""
    write(claim, 8, b"three\n")
    assert ada.get(url, params={"from_byte": first.headers["hsu-next-byte"]}).text == "three\n"
    assert ada.get(url, params={"from_byte": 1, "tail": 2}).text == "two\nthree\n"


@pytest.mark.parametrize(("tail", "text"), [(0, ""), (1, "c"), (2, "b\nc"), (3, "a\nb\nc"), (9, "a\nb\nc")])
def test_a_tail_is_the_last_lines(ada: TestClient, claim: Claim, url: str, tail: int, text: str) -> None:
    write(claim, 0, b"a\nb\nc")
    answer = ada.get(url, params={"tail": tail})
    assert (answer.text, answer.headers["hsu-first-byte"]) == (text, str(5 - len(text)))


def test_a_character_that_is_half_written_comes_whole_with_the_next_part(
    ada: TestClient, claim: Claim, url: str
) -> None:
    text = "grüße".encode()
    write(claim, 0, text[:3])
    first = ada.get(url)
    assert (first.text, first.headers["hsu-next-byte"]) == ("gr", "2")
    write(claim, 3, text[3:])
    assert ada.get(url, params={"from_byte": 2}).text == "üße"


def test_what_is_not_utf_8_is_replaced_also_at_the_end_of_what_will_come(
    ada: TestClient, claim: Claim, url: str
) -> None:
    write(claim, 0, b"a\xffb\xc3")
    assert ada.get(url).text == "a�b"
    settle(claim)
    ended = ada.get(url)
    assert (ended.text, ended.headers["hsu-next-byte"]) == ("a�b�", "4")


def test_a_log_whose_oldest_lines_are_gone_says_where_it_begins(ada: TestClient, claim: Claim, url: str) -> None:
    write(claim, 0, b"x" * 10, limit=15)
    write(claim, 10, b"y" * 15, limit=15)
    answer = ada.get(url)
    assert (answer.text, answer.headers["hsu-first-byte"]) == ("y" * 15, "10")


def test_each_attempt_has_its_own_log(ada: TestClient, claim: Claim, url: str, start: Start) -> None:
    write(claim, 0, b"first")
    settle(claim)
    write(start(), 0, b"second")
    assert [ada.get(url, params={"attempt": number}).text for number in (1, 2)] == ["first", "second"]
    assert ada.get(url).text == "second"


def test_an_attempt_that_is_not_there_is_not_found(ada: TestClient, url: str, submit: Submit) -> None:
    answer = ada.get(url, params={"attempt": 7})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "has no attempt 7; there are 1 to 1" in answer.json()["detail"]
    waiting = ada.get(f"/v1/jobs/{submit(ada)['id']}/log")
    assert (waiting.status_code, waiting.json()["code"]) == (404, "not_found")
    assert "no attempt yet: it is queued" in waiting.json()["detail"]


@pytest.mark.parametrize("name", ["attempt", "tail", "from_byte", "follow"])
def test_a_wrong_parameter_is_named(ada: TestClient, url: str, name: str) -> None:
    answer = ada.get(url, params={name: "-1"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, f"#query/{name}")


def test_a_log_of_anothers_job_does_not_exist(as_user: Callable[[str], TestClient], url: str) -> None:
    assert as_user("bo").get(url).status_code == 404


def test_following_an_attempt_that_has_ended_gives_all_of_it_and_ends(
    ada: TestClient, claim: Claim, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "LINGER", log.LINGER * 0)
    write(claim, 0, "one\nzwölf".encode())
    settle(claim)
    assert ada.get(url, params={"follow": True}).text == "one\nzwölf"
    assert ada.get(url, params={"follow": True, "tail": 1}).text == "zwölf"


def test_following_ends_when_the_reader_goes_away(ada: TestClient, claim: Claim, url: str) -> None:
    write(claim, 0, b"begun\n")
    heard: list[bytes] = []

    async def read_once_and_leave() -> None:
        has_heard = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if not heard:
                await has_heard.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message.get("body"):
                heard.append(message["body"])
                has_heard.set()

        key = ada.headers["authorization"].encode()
        scope = {"type": "http", "method": "GET", "path": url, "query_string": b"follow=true", "http_version": "1.1",
                 "headers": [(b"authorization", key)], "asgi": {"version": "3.0", "spec_version": "2.3"}}  # fmt: skip
        await asyncio.wait_for(ada.app(scope, receive, send), 30)

    asyncio.run(read_once_and_leave())
    assert heard == [b"begun\n"]
    assert database.engine().pool.checkedout() == 0
