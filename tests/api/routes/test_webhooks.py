"""Webhooks over HTTP: whose they are, what is refused, and what is told of deliveries."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from redis import Redis
from sending import claim

from api.routes.webhooks import Message
from hsu_jobs import database, settings
from hsu_jobs.tables import Role
from hsu_jobs.webhooks import deliveries
from hsu_jobs.webhooks.deliveries import Answer

Submit = Callable[..., dict[str, Any]]
HOOK = {"url": "http://127.0.0.1:9000/hook"}


@pytest.fixture(autouse=True)
def _allow_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSU_WEBHOOK_ALLOW", "127.0.0.0/8, hooks.lab.example")
    settings.settings.cache_clear()


def made(client: TestClient, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/webhooks", json=HOOK | fields)
    assert answer.status_code == 201, answer.text
    webhook: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/webhooks/{webhook['id']}"
    return webhook


def refused(answer: Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["code"] == code
    return problem


def carry(webhook_id: int, *answers: Answer) -> None:
    """One turn of a courier whose receiver answers so."""
    with database.transaction() as session:
        turn = claim(session, webhook_id)
        assert turn is not None
        for message, answer in zip(turn.messages, answers, strict=True):
            deliveries.settle(session, turn, message, answer, settings.settings())
        deliveries.finish(session, turn)


def rung(redis_url: str) -> list[str]:
    with Redis.from_url(redis_url) as redis:
        messages = [json.loads(message)["headers"] for message in redis.lrange("hsu", 0, -1)]
    return [each["argsrepr"] for each in messages if each["task"] == "hsu.carry"]


def test_a_webhook_is_made_with_a_secret_that_is_shown_once(ada: TestClient) -> None:
    webhook = made(ada)
    assert webhook["secret"].startswith("whsec_")
    assert webhook["events"] == ["succeeded", "failed", "cancelled"]
    assert (webhook["active"], webhook["failures"], webhook["disabled_because"]) == (True, 0, None)
    shown = {name: value for name, value in webhook.items() if name != "secret"}
    assert ada.get(f"/v1/webhooks/{webhook['id']}").json() == shown
    assert ada.get("/v1/webhooks").json() == {"webhooks": [shown]}
    assert ada.patch(f"/v1/webhooks/{webhook['id']}", json={}).json() == shown
    rotated = ada.post(f"/v1/webhooks/{webhook['id']}/rotate").json()
    assert rotated["secret"] != webhook["secret"]
    assert rotated | {"secret": ""} == shown | {"secret": ""}


def test_a_webhook_is_changed_and_removed(ada: TestClient, submit: Submit) -> None:
    url = f"/v1/webhooks/{made(ada, events=['submitted'])['id']}"
    change = {"url": "https://8.8.8.8/x", "events": ["started", "ended", "started"], "active": False}
    changed = ada.patch(url, json=change).json()
    assert (changed["url"], changed["events"], changed["active"]) == ("https://8.8.8.8/x", ["started", "ended"], False)
    submit(ada)
    assert ada.get(f"{url}/deliveries").json()["deliveries"] == []
    assert ada.delete(url).status_code == 204
    refused(ada.get(url), 404, "not_found")
    assert ada.get("/v1/webhooks").json() == {"webhooks": []}


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        ({}, "/url", "Field required"),
        ({"url": "http://10.0.0.1/"}, "/url", "not a public address"),
        ({"url": "http://169.254.169.254/latest/meta-data/"}, "/url", "HSU_WEBHOOK_ALLOW"),
        ({"url": "http://[::ffff:127.0.0.1]/"}, "/url", "not a public address"),
        ({"url": "http://[::1]:9000/"}, "/url", "not a public address"),
        ({"url": "file:///etc/passwd"}, "/url", "expected http:// or https://"),
        ({"url": "https://ada:pass@8.8.8.8/"}, "/url", "a user name or a password"),
        ({"url": "https://8.8.8.8:25/"}, "/url", "port 25"),
        ({"url": "https://8.8.8.8/" + "x" * 2000}, "/url", "at most 2000"),
        (HOOK | {"events": []}, "/events", "at least 1 item"),
        (
            HOOK | {"events": ["finished"]},
            "/events/0",
            "there is no events 'finished' here; there are submitted, started,",
        ),
        (HOOK | {"secret": "mine"}, "/secret", "not permitted"),
    ],
)
def test_a_wrong_webhook_is_pointed_at(ada: TestClient, body: dict[str, Any], pointer: str, said: str) -> None:
    problem = refused(ada.post("/v1/webhooks", json=body), 422, "invalid_spec")
    (fault,) = problem["errors"]
    assert fault["pointer"] == pointer
    assert said in fault["detail"]
    if "url" in body and pointer == "/url":
        url = f"/v1/webhooks/{made(ada)['id']}"
        assert refused(ada.patch(url, json=body), 422, "invalid_spec")["errors"][0]["pointer"] == "/url"


def test_deliveries_are_told_newest_first_a_page_at_a_time(ada: TestClient, submit: Submit) -> None:
    webhook = made(ada, events=["submitted", "cancelled"])
    url = f"/v1/webhooks/{webhook['id']}/deliveries"
    job = submit(ada)["id"]
    ada.post(f"/v1/jobs/{job}/cancel")
    carry(webhook["id"], Answer(204, None, ""), Answer(503, "it answered 503", "busy"))
    first = ada.get(url, params={"limit": 1}).json()
    (failed,) = first["deliveries"]
    assert (failed["kind"], failed["job"], failed["state"], failed["attempts"]) == ("cancelled", job, "pending", 1)
    assert (failed["status"], failed["error"], failed["response"]) == (503, "it answered 503", "busy")
    assert failed["next_attempt_at"] > failed["attempted_at"]
    second = ada.get(url, params={"limit": 1, "cursor": first["next_cursor"]}).json()
    (taken,) = second["deliveries"]
    assert (taken["kind"], taken["state"], taken["next_attempt_at"]) == ("submitted", "delivered", None)
    assert second["next_cursor"] is None
    events = ada.get(f"/v1/jobs/{job}/events").json()["events"]
    assert [taken["event"], failed["event"]] == [event["id"] for event in events]
    assert ada.get(f"{url}/{taken['id']}").json() == taken
    assert [each["id"] for each in ada.get(url, params={"state": "delivered"}).json()["deliveries"]] == [taken["id"]]
    refused(ada.get(url, params={"state": "lost"}), 400, "bad_request")
    refused(ada.get(f"{url}/999999"), 404, "not_found")


def test_a_test_is_a_ping_that_is_rung_for_at_once(ada: TestClient, redis_url: str) -> None:
    webhook = made(ada)
    url = f"/v1/webhooks/{webhook['id']}"
    answer = ada.post(f"{url}/test")
    delivery = answer.json()
    assert (answer.status_code, delivery["kind"], delivery["job"], delivery["state"]) == (202, "ping", None, "pending")
    assert rung(redis_url) == [f"({webhook['id']},)"]
    carry(webhook["id"], Answer(204))
    assert ada.get(f"{url}/deliveries/{delivery['id']}").json()["state"] == "delivered"
    again = ada.post(f"{url}/deliveries/{delivery['id']}/redeliver")
    assert (again.status_code, again.json()["state"], again.json()["message"]) == (202, "pending", delivery["message"])
    assert len(rung(redis_url)) == 2


def test_an_inactive_webhook_is_not_tried(ada: TestClient) -> None:
    url = f"/v1/webhooks/{made(ada)['id']}"
    delivery = ada.post(f"{url}/test").json()["id"]
    ada.patch(url, json={"active": False})
    refused(ada.post(f"{url}/test"), 409, "webhook_inactive")
    refused(ada.post(f"{url}/deliveries/{delivery}/redeliver"), 409, "webhook_inactive")


def test_a_webhook_that_was_disabled_says_why_and_can_be_made_active_again(ada: TestClient) -> None:
    webhook = made(ada)["id"]
    url = f"/v1/webhooks/{webhook}"
    ada.post(f"{url}/test")
    carry(webhook, Answer(410, "it answered 410"))
    shown = ada.get(url).json()
    assert (shown["active"], shown["disabled_because"]) == (False, "its receiver answered 410 Gone")
    assert ada.patch(url, json={"active": True}).json()["disabled_because"] is None


PATHS = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    ("POST", "/rotate"),
    ("POST", "/test"),
    ("GET", "/deliveries"),
    ("GET", "/deliveries/1"),
    ("POST", "/deliveries/1/redeliver"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_a_webhook_is_its_owners_alone(
    ada: TestClient, root: TestClient, as_user: Callable[..., TestClient], http: TestClient, method: str, path: str
) -> None:
    url = f"/v1/webhooks/{made(ada)['id']}"
    ada.post(f"{url}/test")
    body = {"active": False} if method == "PATCH" else None
    refused(http.request(method, url + path, json=body), 401, "unauthorized")
    for other in (as_user("bo"), root):
        refused(other.request(method, url + path, json=body), 404, "not_found")
    if method != "GET":
        refused(as_user("ada", Role.VIEWER).request(method, url + path, json=body), 403, "forbidden")
    else:
        assert as_user("ada", Role.VIEWER).request(method, url + path).status_code == 200
    assert root.get("/v1/webhooks").json() == {"webhooks": []}
    assert ada.get(url).json()["active"] is True


def test_a_viewer_makes_no_webhook(as_user: Callable[..., TestClient]) -> None:
    refused(as_user("ada", Role.VIEWER).post("/v1/webhooks", json=HOOK), 403, "forbidden")


def test_the_openapi_document_names_what_a_webhook_may_end_in(http: TestClient) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    assert {"201", "400", "401", "403", "422"} <= set(paths["/v1/webhooks"]["post"]["responses"])
    assert {"202", "404", "409"} <= set(paths["/v1/webhooks/{webhook_id}/test"]["post"]["responses"])


def test_the_openapi_document_tells_what_a_receiver_gets(http: TestClient) -> None:
    document = http.get("/openapi.json").json()
    sent = document["webhooks"]["message"]["post"]
    assert {each["name"] for each in sent["parameters"]} == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    body = sent["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Message"}
    assert set(document["components"]["schemas"]["Message"]["properties"]) == {"id", "kind", "at", "job", "event"}


def test_what_is_sent_is_what_the_document_says(ada: TestClient, submit: Submit) -> None:
    webhook = made(ada, events=["submitted", "cancelled"])
    ada.post(f"/v1/jobs/{submit(ada)['id']}/cancel")
    ada.post(f"/v1/webhooks/{webhook['id']}/test")
    with database.transaction() as session:
        turn = claim(session, webhook["id"])
        assert turn is not None
    told = [Message.model_validate_json(message.body, extra="forbid") for message in turn.messages]
    assert [each.kind for each in told] == [each.event.kind for each in told] == ["submitted", "cancelled", "ping"]
