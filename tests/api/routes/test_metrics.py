"""The cluster in numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from samples import DIGITS, ROOM

from hsu_jobs import attempts, database, settings
from hsu_jobs.cluster import workers
from hsu_jobs.outcomes import Released
from hsu_jobs.tables import Role


def read(client: TestClient) -> dict[tuple[str, ...], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


def test_the_queue_the_attempts_and_the_workers_are_counted(
    ada: TestClient, as_user: Callable[[str, Role], TestClient]
) -> None:
    for _ in range(3):
        ada.post("/v1/jobs", json=DIGITS)
    with database.transaction() as session:
        workers.register(session, ROOM.worker, pool="default", devices=ROOM.free, slots=1)
        claim = attempts.claim(session, ROOM, settings.settings())
        assert claim is not None
        attempts.settle(session, claim.token, Released(), settings.settings())
    with database.transaction() as session:
        attempts.claim(session, ROOM, settings.settings())
    found = read(as_user("bob", Role.ADMIN))
    assert found["hsu_jobs_queued", "default"] == 2
    assert found["hsu_attempts_total", "released"] == 1
    assert found["hsu_attempts_running", "w"] == 1
    assert found["hsu_gpus", "default"] == 1
    assert found["hsu_gpus_in_use", "ada"] == 1
    assert 0 <= found["hsu_heartbeat_age_seconds", "active", "default", "w"] < 60
    assert found["hsu_longest_wait_seconds", "default"] >= 0
    assert found["hsu_wait_seconds_mean", "default"] >= 0
    assert found["hsu_gpu_seconds_total", "default"] >= 0


def test_metrics_tell_of_everybody_and_are_for_admins(
    http: TestClient, as_user: Callable[[str, Role], TestClient]
) -> None:
    assert http.get("/metrics").status_code == 401
    for role in (Role.VIEWER, Role.MEMBER):
        answer = as_user("bob", role).get("/metrics")
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert "hsu_gpus" not in answer.text


def test_a_scraper_may_have_a_token_that_opens_nothing_else(http: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSU_METRICS_TOKEN", "for-prometheus")
    settings.settings.cache_clear()
    mine = {"Authorization": b"Bearer for-prometheus"}
    assert http.get("/metrics", headers=mine).status_code == 200
    assert http.get("/v1/jobs", headers=mine).status_code == 401
    for wrong in ("", "for-prometheu", "for-prometheus2"):
        assert http.get("/metrics", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
