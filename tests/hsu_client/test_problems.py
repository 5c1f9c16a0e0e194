"""What does the client raise when it is refused, when nobody answers, and when the answer is none of ours?"""

from __future__ import annotations

from typing import Any

import pytest
from answering import answering, unused_port
from samples import EXAMPLE

from hsu_client.client import Client
from hsu_client.problem import Problem, Unreachable


def test_an_illegal_move_is_a_problem(client: Client) -> None:
    job = client.submit(EXAMPLE)["id"]
    with pytest.raises(Problem, match="resume is not possible") as caught:
        client.resume(job)
    assert (caught.value.status, caught.value.code) == (409, "illegal_move")


def test_a_wrong_spec_is_a_problem_that_points_at_the_field(client: Client) -> None:
    wrong = EXAMPLE | {"optimizer": {"kind": "sgd", "lr": -1}}
    with pytest.raises(Problem) as caught:
        client.submit(wrong)
    assert caught.value.status == 422
    assert [fault.pointer for fault in caught.value.errors] == ["/optimizer/lr"]
    assert "/optimizer/lr" in str(caught.value)


def test_errors_beyond_the_first_twenty_are_counted(client: Client) -> None:
    with pytest.raises(Problem, match=r"and 5 more errors") as caught:
        client.submit(EXAMPLE | {f"unknown{n}": n for n in range(25)})
    assert (len(caught.value.errors), caught.value.more_errors) == (20, 5)


def test_a_job_that_is_not_there_is_a_problem_with_a_code(client: Client) -> None:
    with pytest.raises(Problem) as caught:
        client.job(10**9)
    assert (caught.value.status, caught.value.code) == (404, "not_found")


def test_a_wrong_key_is_a_problem(client: Client, served: Any) -> None:
    with Client(served.url, "hsu_00000000_wrong") as stranger, pytest.raises(Problem) as caught:
        stranger.catalog()
    assert caught.value.status == 401


@pytest.mark.parametrize("key", ["", "  ", "schlüssel"])
def test_what_cannot_be_a_key_is_refused_at_once(key: str) -> None:
    with pytest.raises(ValueError, match="API key"):
        Client("http://127.0.0.1:1", key)


def test_nobody_at_the_address_is_said_plainly() -> None:
    with Client(f"http://127.0.0.1:{unused_port()}", "key") as client, pytest.raises(Unreachable, match="no answer"):
        client.catalog()


def test_a_refusal_from_a_proxy_keeps_its_status() -> None:
    with (
        answering((502, "text/html", "<h1>no")) as url,
        Client(url, "key") as client,
        pytest.raises(Problem, match="Bad Gateway") as caught,
    ):
        client.catalog()
    assert (caught.value.status, caught.value.code) == (502, "http_502")


def test_a_refusal_with_a_status_that_nobody_registered_is_still_a_problem() -> None:
    with (
        answering((599, "application/problem+json", "not json")) as url,
        Client(url, "key") as client,
        pytest.raises(Problem, match="HTTP status 599"),
    ):
        client.catalog()


@pytest.mark.parametrize("body", ["<h1>hello</h1>", '["a list"]'])
def test_another_kind_of_server_is_recognised(body: str) -> None:
    with (
        answering((200, "text/html", body)) as url,
        Client(url, "key") as client,
        pytest.raises(Unreachable, match="not an HSU service"),
    ):
        client.catalog()
