"""Keys over HTTP: shown once, looked at, rotated, revoked, and remembered no longer than is said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS
from sqlalchemy import event, func, update
from waiting import until

from api.dependencies import key_cache
from hsu_jobs import database, settings
from hsu_jobs.tables import ApiKey, Job, Role, User

As = Callable[..., TestClient]


def make(client: TestClient, **wanted: Any) -> dict[str, Any]:
    answer = client.post("/v1/keys", json=wanted)
    assert answer.status_code == 201, answer.text
    return answer.json()


def opens(client: TestClient, key: str) -> bool:
    status = client.get("/v1/keys", headers={"Authorization": f"Bearer {key}"}).status_code
    assert status in (200, 401)
    return status == 200


def expire(key_id: int) -> None:
    """The time for which it was made is over."""
    with database.transaction() as session:
        session.execute(update(ApiKey).where(ApiKey.id == key_id).values(expires_at=func.now()))


def row(key_id: int) -> ApiKey:
    with database.transaction() as session:
        return session.get_one(ApiKey, key_id)


def test_a_key_is_shown_once_and_opens_what_its_maker_may_open(ada: TestClient) -> None:
    answer = ada.post("/v1/keys", json={"name": "notebook"})
    made = answer.json()
    assert (made["user"], made["role"], made["name"], made["expires_at"]) == ("ada", "member", "notebook", None)
    assert made["key"].startswith(f"hsu_{made['prefix']}_")
    assert opens(ada, made["key"])
    seen = ada.get(answer.headers["location"]).json()
    assert seen == {name: value for name, value in made.items() if name != "key"} | {
        "last_used_at": seen["last_used_at"]
    }
    assert made["key"] not in ada.get("/v1/keys").text


def test_a_list_pages_from_the_newest_and_holds_ones_own(ada: TestClient, as_user: As) -> None:
    as_user("bob")
    made = [make(ada, name=f"key {number}")["id"] for number in range(3)]
    first = ada.get("/v1/keys", params={"limit": 2}).json()
    second = ada.get("/v1/keys", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [key["id"] for key in first["keys"] + second["keys"]][:3] == made[::-1]
    assert {key["user"] for key in first["keys"] + second["keys"]} == {"ada"}
    assert second["next_cursor"] is None


def test_an_admin_makes_keys_for_others_and_sees_everyones(root: TestClient, ada: TestClient) -> None:
    assert make(root, user="grace", role="viewer")["user"] == "grace"
    assert {key["user"] for key in root.get("/v1/keys").json()["keys"]} == {"root", "ada", "grace"}


def test_nobody_makes_a_key_that_may_do_more_or_is_anothers(ada: TestClient) -> None:
    for wanted in ({"role": "admin"}, {"user": "bob"}):
        answer = ada.post("/v1/keys", json=wanted)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_a_members_key_cannot_become_the_admins_key_of_the_same_user(ada: TestClient, as_user: As) -> None:
    admin = as_user("ada", Role.ADMIN)
    (mighty,) = [key["id"] for key in admin.get("/v1/keys").json()["keys"] if key["role"] == "admin"]
    for answer in (ada.post(f"/v1/keys/{mighty}/rotate"), ada.delete(f"/v1/keys/{mighty}")):
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert admin.get("/v1/keys").status_code == 200


def test_a_key_expires_when_it_was_to(ada: TestClient) -> None:
    made = make(ada, expires_in=3600)
    assert opens(ada, made["key"])
    expire(made["id"])
    until(lambda: not opens(ada, made["key"]))


@pytest.mark.parametrize(
    ("wanted", "pointer", "code"),
    [
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at", "in_the_past"),
        ({"expires_at": "2999-01-01T00:00:00Z", "expires_in": 5}, "/expires_in", "two_ends"),
        ({"expires_at": "2999-01-01T00:00:00"}, "/expires_at", "timezone_aware"),
        ({"expires_in": 0}, "/expires_in", "greater_than"),
        ({"role": "king"}, "/role", "enum"),
        ({"name": "a\x00b"}, "/name", "string_pattern_mismatch"),
        ({"user": "no spaces"}, "/user", "string_pattern_mismatch"),
        ({"colour": "red"}, "/colour", "extra_forbidden"),
    ],
)
def test_a_wrong_field_is_pointed_at(ada: TestClient, wanted: dict[str, Any], pointer: str, code: str) -> None:
    answer = ada.post("/v1/keys", json=wanted)
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]


def test_a_revoked_key_opens_nothing_from_then_on(ada: TestClient) -> None:
    made = make(ada)
    assert opens(ada, made["key"])
    revoked = ada.delete(f"/v1/keys/{made['id']}").json()
    assert revoked["revoked_at"] is not None
    assert not opens(ada, made["key"])
    assert ada.get("/v1/keys").json()["keys"][0] | {"revoked_along": []} == revoked
    for answer in (ada.get(f"/v1/keys/{made['id']}"), ada.delete(f"/v1/keys/{made['id']}")):
        assert (answer.status_code, answer.json()["code"]) == (410, "gone")


def test_a_key_revoked_elsewhere_opens_for_two_seconds_at_most(ada: TestClient) -> None:
    made = make(ada)
    assert opens(ada, made["key"])
    with database.transaction() as session:
        session.execute(update(ApiKey).where(ApiKey.id == made["id"]).values(revoked_at=func.now()))
    revoked = asked = time.monotonic()
    while opens(ada, made["key"]):
        assert asked - revoked < 2
        asked = time.monotonic()


def test_without_a_memory_it_opens_nothing_at_once(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSU_KEY_CACHE", "0")
    settings.settings.cache_clear()
    made = make(ada)
    assert opens(ada, made["key"])
    with database.transaction() as session:
        session.execute(update(ApiKey).where(ApiKey.id == made["id"]).values(revoked_at=func.now()))
    assert not opens(ada, made["key"])


def test_rotating_gives_a_new_key_and_ends_the_old_one(ada: TestClient) -> None:
    made = make(ada, name="notebook", role="viewer", expires_in=1000)
    answer = ada.post(f"/v1/keys/{made['id']}/rotate")
    new = answer.json()
    assert answer.status_code == 201
    assert (new["name"], new["role"], new["user"]) == ("notebook", "viewer", "ada")
    assert new["id"] != made["id"]
    assert opens(ada, new["key"])
    assert not opens(ada, made["key"])
    lives = datetime.fromisoformat(new["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=990) < lives <= timedelta(seconds=1000)


def test_the_old_key_may_live_on_for_a_while(ada: TestClient) -> None:
    made = make(ada)
    new = ada.post(f"/v1/keys/{made['id']}/rotate", json={"overlap": 3600}).json()
    assert opens(ada, new["key"])
    assert opens(ada, made["key"])
    expire(made["id"])
    until(lambda: not opens(ada, made["key"]))


def test_a_key_that_opens_nothing_is_not_rotated(ada: TestClient) -> None:
    made = make(ada)
    ada.delete(f"/v1/keys/{made['id']}")
    answer = ada.post(f"/v1/keys/{made['id']}/rotate")
    assert (answer.status_code, answer.json()["code"]) == (410, "gone")


def test_its_use_is_noted_once_a_minute_at_most(ada: TestClient) -> None:
    made = make(ada)
    assert row(made["id"]).last_used_at is None
    opens(ada, made["key"])
    used = row(made["id"]).last_used_at
    assert used is not None
    key_cache.clear()
    opens(ada, made["key"])
    assert row(made["id"]).last_used_at == used


def test_a_key_costs_one_query_and_then_none_for_a_while(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSU_KEY_CACHE", "600")  # longer than five requests take on any machine
    settings.settings.cache_clear()
    made = make(ada)
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "api_keys.digest =" in statement:
            asked.append(statement)

    event.listen(database.engine(), "before_cursor_execute", note)
    for _ in range(5):
        assert ada.get("/v1/catalog", headers={"Authorization": f"Bearer {made['key']}"}).status_code == 200
    event.remove(database.engine(), "before_cursor_execute", note)
    assert len(asked) == 1


def test_many_threads_may_submit_with_one_remembered_key(ada: TestClient) -> None:
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(ada.post("/v1/jobs", json=DIGITS).status_code))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 12
    with database.transaction() as session:
        assert session.query(Job).count() == 12
        assert session.query(User).count() == 1


def test_a_new_quota_counts_at_once(ada: TestClient, root: TestClient) -> None:
    assert ada.post("/v1/jobs", json=DIGITS).status_code == 201
    root.patch("/v1/users/ada", json={"max_gpus": 0})
    answer = ada.post("/v1/jobs", json=DIGITS)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (403, "over_quota")


# --- a key gives no more than its own right ---------------------------------------------------------------------------


def with_key(client: TestClient, key: str) -> TestClient:
    return TestClient(client.app, headers={"Authorization": f"Bearer {key}"}, raise_server_exceptions=False)


@pytest.fixture
def brief(ada: TestClient) -> tuple[TestClient, dict[str, Any]]:
    """A client with a key that expires in 1,000 s, and that key."""
    made = make(ada, name="brief", expires_in=1000)
    return with_key(ada, made["key"]), made


def test_a_key_that_expires_makes_none_that_lives_longer(brief: tuple[TestClient, dict[str, Any]]) -> None:
    client, own = brief
    assert make(client)["expires_at"] == own["expires_at"]
    assert make(client, expires_in=500)["expires_at"] < own["expires_at"]
    for wanted in ({"expires_in": 2000}, {"expires_at": "2999-01-01T00:00:00Z"}):
        answer = client.post("/v1/keys", json=wanted)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert (error["pointer"], error["code"]) == (f"/{next(iter(wanted))}", "beyond_own_end")
        assert own["expires_at"][:19] in error["detail"]


def test_a_key_that_expires_does_not_prolong_itself_by_rotation(brief: tuple[TestClient, dict[str, Any]]) -> None:
    client, own = brief
    new = client.post(f"/v1/keys/{own['id']}/rotate").json()
    assert new["expires_at"] == own["expires_at"]


def test_a_key_that_expires_gives_another_its_own_end_by_rotation(
    ada: TestClient, brief: tuple[TestClient, dict[str, Any]]
) -> None:
    client, own = brief
    immortal = make(ada)
    assert client.post(f"/v1/keys/{immortal['id']}/rotate").json()["expires_at"] == own["expires_at"]


def test_who_made_a_key_is_shown(ada: TestClient, brief: tuple[TestClient, dict[str, Any]]) -> None:
    client, own = brief
    (first,) = [key for key in ada.get("/v1/keys").json()["keys"] if key["id"] < own["id"]]
    assert (first["made_by"], own["made_by"]) == (None, first["id"])
    new = client.post(f"/v1/keys/{own['id']}/rotate").json()
    assert (new["made_by"], new["replaces"]) == (own["id"], own["id"])
    assert ada.get(f"/v1/keys/{new['id']}").json()["replaces"] == own["id"]


def test_in_its_overlap_a_key_changes_no_other_and_is_not_rotated_again(ada: TestClient) -> None:
    made = make(ada)
    old, other = with_key(ada, made["key"]), make(ada)
    new = old.post(f"/v1/keys/{made['id']}/rotate", json={"overlap": 1000}).json()
    for answer in (
        old.delete(f"/v1/keys/{new['id']}"),
        old.post(f"/v1/keys/{new['id']}/rotate"),
        old.delete(f"/v1/keys/{other['id']}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert f"replaced by key {new['id']}" in answer.json()["detail"]
    again = old.post(f"/v1/keys/{made['id']}/rotate")
    assert (again.status_code, again.json()["code"]) == (410, "gone")
    assert make(old)["expires_at"] is not None
    assert opens(ada, new["key"])
    assert old.delete(f"/v1/keys/{made['id']}").status_code == 200


def test_revoking_a_leaked_key_takes_along_what_it_made(ada: TestClient, as_user: As) -> None:
    leaked = make(ada)
    child = make(with_key(ada, leaked["key"]))
    grandchild = make(with_key(ada, child["key"]))
    revoked = ada.delete(f"/v1/keys/{leaked['id']}").json()
    assert revoked["revoked_along"] == [child["id"], grandchild["id"]]
    assert not any(opens(ada, key["key"]) for key in (leaked, child, grandchild))
    assert ada.get("/v1/keys").status_code == 200


def test_what_a_key_made_may_be_left(ada: TestClient) -> None:
    maker = make(ada)
    child = make(with_key(ada, maker["key"]))
    assert ada.delete(f"/v1/keys/{maker['id']}", params={"descendants": False}).json()["revoked_along"] == []
    assert opens(ada, child["key"])


@pytest.mark.parametrize("how", ["make", "rotate"])
def test_a_key_that_was_revoked_a_moment_ago_elsewhere_makes_none(ada: TestClient, how: str) -> None:
    made, other = make(ada), make(ada)
    client = with_key(ada, made["key"])
    assert opens(ada, made["key"])  # so it is remembered
    with database.transaction() as session:
        session.execute(update(ApiKey).where(ApiKey.id == made["id"]).values(revoked_at=func.now()))
    path = "/v1/keys" if how == "make" else f"/v1/keys/{other['id']}/rotate"
    assert client.post(path, json={}).status_code == 401
