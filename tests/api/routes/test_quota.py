"""What one user may have waiting: jobs, and messages that were asked for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS
from sqlalchemy import func, select, update

from hsu_jobs import database, settings
from hsu_jobs.attempts import Claim
from hsu_jobs.tables import Delivery, DeliveryState, Job
from hsu_jobs.webhooks import subscriptions

Submit = Callable[..., dict[str, Any]]


def bulk(client: TestClient, many: int) -> Any:
    return client.post("/v1/jobs/bulk", json={"jobs": [DIGITS] * many})


@pytest.fixture
def most(monkeypatch: pytest.MonkeyPatch) -> int:
    """Three jobs that anybody may have waiting, two messages on their way."""
    monkeypatch.setenv("HSU_MAX_WAITING", "3")
    monkeypatch.setenv("HSU_WEBHOOK_ASKED", "2")
    monkeypatch.setenv("HSU_WEBHOOK_ALLOW", "127.0.0.1")
    settings.settings.cache_clear()
    return 3


@pytest.mark.usefixtures("most")
def test_one_may_have_so_many_jobs_waiting_and_another_as_many(
    ada: TestClient, as_user: Callable[[str], TestClient], submit: Submit, start: Callable[[], Claim]
) -> None:
    jobs = [submit(ada)["id"] for _ in range(3)]
    refused = ada.post("/v1/jobs", json=DIGITS)
    assert (refused.status_code, refused.json()["code"]) == (409, "quota_exceeded")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["detail"].startswith("ada may have 3 jobs queued or paused, has 3, and asked for 1 more:")
    assert bulk(as_user("bob"), 3).status_code == 201, "another is not concerned"
    start()
    assert ada.post("/v1/jobs", json=DIGITS).status_code == 201, "one that runs does not wait"
    assert ada.post("/v1/jobs", json=DIGITS).status_code == 409
    assert ada.post(f"/v1/jobs/{jobs[1]}/pause").status_code == 202
    assert ada.post("/v1/jobs", json=DIGITS).status_code == 409, "one that is paused does"
    assert ada.post(f"/v1/jobs/{jobs[2]}/cancel").status_code == 202
    assert ada.post(f"/v1/jobs/{jobs[1]}/resume").status_code == 200
    assert ada.post("/v1/jobs", json=DIGITS).status_code == 201, "one that ended does not"


@pytest.mark.usefixtures("most")
def test_many_at_once_are_all_let_in_or_none(ada: TestClient) -> None:
    refused = bulk(ada, 4)
    assert (refused.status_code, refused.json()["code"]) == (409, "quota_exceeded")
    assert "asked for 4 more" in refused.json()["detail"]
    assert ada.get("/v1/jobs").json()["jobs"] == []
    assert bulk(ada, 3).status_code == 201


@pytest.mark.usefixtures("most")
def test_a_retry_and_a_fork_wait_too(
    ada: TestClient, submit: Submit, start: Callable[[], Claim], save: Callable[..., None]
) -> None:
    ended, running = submit(ada)["id"], submit(ada)["id"]
    ada.post(f"/v1/jobs/{ended}/cancel")
    save(start(), 5)
    assert bulk(ada, 3).status_code == 201
    for ask in (f"{ended}/retry", f"{running}/fork"):
        refused = ada.post(f"/v1/jobs/{ask}", json={})
        assert (refused.status_code, refused.json()["code"]) == (409, "quota_exceeded")


@pytest.mark.usefixtures("most")
def test_what_a_job_would_cost_is_told_also_if_it_would_not_be_let_in(ada: TestClient) -> None:
    assert bulk(ada, 3).status_code == 201
    assert ada.post("/v1/jobs", params={"dry_run": True}, json=DIGITS).status_code == 200


@pytest.mark.usefixtures("most")
def test_what_was_refused_is_let_in_later_with_the_same_idempotency_key(ada: TestClient, submit: Submit) -> None:
    jobs = [submit(ada)["id"] for _ in range(3)]
    once = {"Idempotency-Key": "7"}
    assert ada.post("/v1/jobs", json=DIGITS, headers=once).status_code == 409
    ada.post(f"/v1/jobs/{jobs[0]}/cancel")
    made = ada.post("/v1/jobs", json=DIGITS, headers=once)
    assert made.status_code == 201
    again = ada.post("/v1/jobs", json=DIGITS, headers=once)
    assert (again.status_code, again.json()["id"]) == (201, made.json()["id"]), "full again, but it was let in before"


@pytest.mark.usefixtures("most")
def test_an_admin_gives_a_user_a_quota_of_their_own(ada: TestClient, root: TestClient) -> None:
    assert root.patch("/v1/users/ada", json={"max_waiting": 5}).json()["max_waiting"] == 5
    assert bulk(ada, 5).status_code == 201
    root.patch("/v1/users/ada", json={"max_waiting": 2**31 - 1})
    assert bulk(ada, 1).status_code == 201
    assert root.patch("/v1/users/ada", json={"max_waiting": 0}).status_code == 200
    refused = ada.post("/v1/jobs", json=DIGITS)
    assert "may have 0 jobs queued or paused, has more than 0" in refused.json()["detail"]
    assert root.patch("/v1/users/ada", json={"max_waiting": None}).json()["max_waiting"] is None
    assert ada.get("/v1/users").json()["users"][0]["max_waiting"] is None
    assert ada.patch("/v1/users/ada", json={"max_waiting": 9}).status_code == 403
    bad = root.patch("/v1/users/ada", json={"max_waiting": -1})
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "/max_waiting")
    assert bulk(root, 4).status_code == 409, "a quota is the owner's, whatever the key"


def test_a_quota_holds_for_many_who_ask_at_the_same_time(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSU_MAX_WAITING", "7")
    settings.settings.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda many: bulk(ada, many).status_code, [1, 2] * 8))
    assert set(answers) == {201, 409}
    with database.transaction() as session:
        assert session.execute(select(func.count()).select_from(Job)).scalar_one() == 7


@pytest.mark.usefixtures("most")
def test_pings_and_messages_asked_for_again_on_their_way_are_bounded(
    ada: TestClient, as_user: Callable[[str], TestClient]
) -> None:
    hook = {"url": "http://127.0.0.1:9000/", "events": ["submitted"]}
    first, second = (ada.post("/v1/webhooks", json=hook).json()["id"] for _ in range(2))
    ada.post("/v1/jobs", json=DIGITS)  # what happens is told however much is on its way
    told = ada.get(f"/v1/webhooks/{first}/deliveries").json()["deliveries"][0]["id"]
    assert ada.post(f"/v1/webhooks/{first}/test").status_code == 202
    assert ada.post(f"/v1/webhooks/{first}/deliveries/{told}/redeliver").status_code == 202
    for ask in (f"{first}/test", f"{second}/test", f"{first}/deliveries/{told}/redeliver"):
        refused = ada.post(f"/v1/webhooks/{ask}")
        assert (refused.status_code, refused.json()["code"]) == (409, "quota_exceeded")
        assert "2 pings and messages" in refused.json()["detail"]
    bob = as_user("bob")
    his = bob.post("/v1/webhooks", json=hook).json()["id"]
    assert bob.post(f"/v1/webhooks/{his}/test").status_code == 202
    ada.post("/v1/jobs", json=DIGITS)
    assert len(ada.get(f"/v1/webhooks/{first}/deliveries").json()["deliveries"]) == 3
    with database.transaction() as session:
        session.execute(update(Delivery).values(state=DeliveryState.DELIVERED))
    assert ada.post(f"/v1/webhooks/{first}/test").status_code == 202


@pytest.mark.usefixtures("most")
def test_of_pings_only_the_newest_are_kept(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "PINGS_KEPT", 2)
    hook = ada.post("/v1/webhooks", json={"url": "http://127.0.0.1:9000/", "events": ["submitted"]}).json()["id"]
    ada.post("/v1/jobs", json=DIGITS)
    pings = []
    for _ in range(4):
        pings.append(ada.post(f"/v1/webhooks/{hook}/test").json()["id"])
        with database.transaction() as session:
            session.execute(update(Delivery).values(state=DeliveryState.DELIVERED))
    kept = ada.get(f"/v1/webhooks/{hook}/deliveries").json()["deliveries"]
    assert [(each["id"], each["kind"]) for each in kept[:2]] == [(pings[3], "ping"), (pings[2], "ping")]
    assert [each["kind"] for each in kept[2:]] == ["submitted"]
