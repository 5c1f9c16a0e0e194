"""What receivers verify, against a signature made here by hand; and webhooks through the client and a terminal."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sending import claim
from sqlalchemy.orm import Session

from hsu_client.cli.main import main
from hsu_client.client import Client
from hsu_client.problem import Problem
from hsu_client.webhooks import NotAuthentic, verify
from hsu_jobs.settings import Settings
from hsu_jobs.webhooks import deliveries
from hsu_jobs.webhooks.deliveries import Answer

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
BODY = b'{"id": "msg_1", "kind": "ping"}'
NOW = 1_700_000_000
URL = "https://8.8.8.8/hook"


def signed(body: bytes = BODY, *, key: bytes = KEY, at: int = NOW) -> dict[str, str]:
    digest = hmac.new(key, b"msg_1." + str(at).encode() + b"." + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(at), "Webhook-Signature": signature}


def test_what_was_signed_with_the_secret_is_read() -> None:
    assert verify(BODY, signed(), SECRET, now=NOW) == {"id": "msg_1", "kind": "ping"}
    assert verify(BODY, signed(), SECRET.removeprefix("whsec_"), now=NOW + 299)["id"] == "msg_1"


def test_one_of_several_signatures_is_enough() -> None:
    old, new = signed(key=b"old")["Webhook-Signature"], signed()["Webhook-Signature"]
    assert verify(BODY, signed() | {"Webhook-Signature": f"{old} v1a,else {new}"}, SECRET, now=NOW)


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (BODY + b" ", signed(), "none of its signatures"),
        (BODY, signed(key=b"another"), "none of its signatures"),
        (BODY, signed() | {"Webhook-Id": "msg_2"}, "none of its signatures"),
        (BODY, signed() | {"Webhook-Timestamp": str(NOW + 1)}, "none of its signatures"),
        (BODY, signed() | {"Webhook-Signature": ""}, "none of its signatures"),
        (BODY, signed() | {"Webhook-Signature": "v1,ünfug"}, "none of its signatures"),
        (BODY, signed(at=NOW - 301), "signed 301 s ago"),
        (BODY, signed(at=NOW + 301), "signed -301 s ago"),
        (BODY, signed() | {"Webhook-Timestamp": "soon"}, "not a number of seconds"),
        (BODY, {}, "the header webhook-id is missing"),
    ],
)
def test_what_was_not_is_refused(body: bytes, headers: dict[str, str], said: str) -> None:
    with pytest.raises(NotAuthentic, match=said):
        verify(body, headers, SECRET, now=NOW)


def test_the_tolerance_and_the_clock_are_the_receivers() -> None:
    assert verify(BODY, signed(at=NOW - 3600), SECRET, now=NOW, tolerance=timedelta(hours=2))
    with pytest.raises(NotAuthentic, match="ago"):
        verify(BODY, signed(), SECRET)


def test_what_is_no_secret_is_an_error_of_whoever_set_it() -> None:
    with pytest.raises(ValueError, match="not a webhook's secret"):
        verify(BODY, signed(), "whsec_no secret", now=NOW)


@pytest.fixture
def webhook(client: Client) -> Iterator[dict[str, Any]]:
    """To a public address that nobody calls: no worker runs."""
    made = client.create_webhook(URL, events=["submitted"])
    yield made
    client.remove_webhook(made["id"])


def carry(session: Session, webhook_id: int, answer: Answer) -> None:
    turn = claim(session, webhook_id)
    assert turn is not None
    for message in turn.messages:
        deliveries.settle(session, turn, message, answer, Settings())
        session.flush()
    deliveries.finish(session, turn)


def test_a_webhook_is_made_changed_rotated_and_removed(client: Client) -> None:
    made = client.create_webhook(URL)
    assert made["events"] == ["succeeded", "failed", "cancelled"]
    assert client.change_webhook(made["id"], active=False)["active"] is False
    assert client.rotate_webhook(made["id"])["secret"] != made["secret"]
    assert [each["id"] for each in client.webhooks()] == [made["id"]]
    client.remove_webhook(made["id"])
    assert client.webhooks() == []
    with pytest.raises(Problem) as caught:
        client.remove_webhook(made["id"])
    assert caught.value.status == 404


def test_deliveries_come_over_as_many_pages_as_there_are_and_can_be_sent_again(
    client: Client, webhook: dict[str, Any], session: Session
) -> None:
    pings = [client.test_webhook(webhook["id"], patience=0)["id"] for _ in range(5)]
    assert [each["id"] for each in client.deliveries(webhook["id"], page=2)] == pings[::-1]
    carry(session, webhook["id"], Answer(204))
    assert list(client.deliveries(webhook["id"], state="pending")) == []
    assert client.redeliver(webhook["id"], pings[0])["state"] == "pending"
    assert [each["id"] for each in client.deliveries(webhook["id"], state="pending")] == [pings[0]]


@pytest.fixture
def hsu(served: Any) -> Any:
    def run(*arguments: str) -> Result:
        environment = {"HSU_URL": served.url, "HSU_API_KEY": served.key}
        return CliRunner().invoke(main, ["webhook", *arguments], env=environment)

    return run


def test_webhooks_from_a_terminal(hsu: Any, client: Client, session: Session) -> None:
    added = hsu("add", URL, "--event", "submitted", "--event", "failed").stdout
    number = added.splitlines()[1].split()[0]
    assert added.splitlines()[1].split()[1:] == ["active", "0", "submitted", "failed", URL]
    assert "its secret, shown this once: whsec_" in added
    assert "whsec_" in json.loads(hsu("rotate", number, "--json").stdout)["secret"]
    client.test_webhook(int(number), patience=0)
    carry(session, int(number), Answer(500, "it answered 500"))
    row = hsu("deliveries", number).stdout.splitlines()[1].split()
    assert row[1:7] == ["ping", "pending", "1", "it", "answered", "500"]
    delivery = str(json.loads(hsu("deliveries", number, "--json").stdout)[0]["id"])
    assert hsu("redeliver", number, delivery).stdout.splitlines()[1].split()[:3] == [delivery, "ping", "pending"]
    assert "inactive: as was asked" in hsu("change", number, "--inactive").stdout
    assert json.loads(hsu("list", "--json").stdout)[0]["active"] is False
    refused = hsu("test", number)
    assert (refused.exit_code, "is not active" in refused.stderr) == (1, True)
    assert hsu("remove", number).exit_code == 0
    assert hsu("list").stdout.split() == ["webhook", "failures", "events", "address"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "http://127.0.0.1:9000/"], "127.0.0.1 is not a public address"),
        (["add", URL, "--event", "finished"], "/events/0"),
        (["remove", "999999"], "there is no webhook 999999"),
    ],
)
def test_what_is_refused_is_said_in_one_line(hsu: Any, arguments: list[str], said: str) -> None:
    result = hsu(*arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
