"""The cluster in numbers."""

from __future__ import annotations

from collections.abc import Callable

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from samples import DIGITS, ROOM

from hsu_jobs import attempts, database, settings, workers
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
    found = read(as_user("bob", Role.VIEWER))
    assert found["hsu_jobs_queued", "default"] == 2
    assert found["hsu_attempts_total", "released"] == 1
    assert found["hsu_attempts_running", "w"] == 1
    assert found["hsu_gpus", "default"] == 1
    assert found["hsu_gpus_in_use", "ada"] == 1
    assert 0 <= found["hsu_heartbeat_age_seconds", "active", "default", "w"] < 60
    assert found["hsu_longest_wait_seconds", "default"] >= 0
    assert found["hsu_wait_seconds_mean", "default"] >= 0
    assert found["hsu_gpu_seconds_total", "default"] >= 0


def test_metrics_need_a_key(http: TestClient) -> None:
    assert http.get("/metrics").status_code == 401
