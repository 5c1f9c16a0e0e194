"""Who may ask what: every route of the app, asked by everybody.

A new route needs a line in `MATRIX`, or the first test fails.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from samples import DIGITS
from sqlalchemy import func, update
from stored_checkpoints import stored

from api.app import create_app
from hsu_jobs import attempts, database, lifecycle, settings
from hsu_jobs.access import keys
from hsu_jobs.artifacts import answers
from hsu_jobs.cluster import workers
from hsu_jobs.cluster.claiming import Room
from hsu_jobs.datasets import uploads
from hsu_jobs.datasets.uploads import NewDataset
from hsu_jobs.outcomes import Failed
from hsu_jobs.results import Answers
from hsu_jobs.spec import parse
from hsu_jobs.studies import requests
from hsu_jobs.studies.spec import StudySpec
from hsu_jobs.tables import ApiKey, FileState, Role, SavedFile, User
from hsu_jobs.webhooks import subscriptions

WHO = ("nobody", "expired", "revoked", "viewer", "other", "owner", "admin")
"""No key; ada's expired, revoked and viewer's key; bob's; ada's, whose everything is; an admin's."""

OK, NO_KEY, FORBIDDEN, UNSEEN = "ok", 401, 403, 404
"""`ok`: the key suffices, whatever becomes of the request else."""

_CLOSED = (NO_KEY, NO_KEY, NO_KEY)
OPEN = (OK,) * 7
READ = (*_CLOSED, OK, OK, OK, OK)
CHANGE = (*_CLOSED, FORBIDDEN, OK, OK, OK)
READ_OWN = (*_CLOSED, OK, UNSEEN, OK, OK)
CHANGE_OWN = (*_CLOSED, FORBIDDEN, UNSEEN, OK, OK)
READ_MINE = (*_CLOSED, OK, UNSEEN, OK, UNSEEN)
CHANGE_MINE = (*_CLOSED, FORBIDDEN, UNSEEN, OK, UNSEEN)
"""Webhooks: not even an admin sees another's."""
ADMINS = (*_CLOSED, FORBIDDEN, FORBIDDEN, FORBIDDEN, OK)


class Row(NamedTuple):
    """What is expected of each of `WHO`, and what a request needs to get that far."""

    expected: tuple[str | int, ...]
    body: Any = None
    query: str = ""


TOKEN = "1b4e28ba-2fa1-4d3b-883f-0016d3cca427"
"""What the client of a tracked run has chosen."""

MATRIX: dict[str, Row] = {
    "GET /healthz": Row(OPEN),
    "GET /readyz": Row(OPEN),
    "GET /openapi.json": Row(OPEN),
    "HEAD /openapi.json": Row(OPEN),
    "GET /docs": Row(OPEN),
    "GET /docs/start.js": Row(OPEN),
    "GET /docs/swagger-ui.css": Row(OPEN),
    "GET /docs/swagger-ui-bundle.js": Row(OPEN),
    "GET /metrics": Row(ADMINS),
    "GET /v1/catalog": Row(READ),
    "GET /v1/queue": Row(READ),
    "GET /v1/users": Row(READ),
    "PATCH /v1/users/{name}": Row(ADMINS, body={"share": 2}),
    "GET /v1/workers": Row(READ),
    "GET /v1/workers/{name}": Row(READ),
    "POST /v1/workers/{name}/drain": Row(ADMINS),
    "POST /v1/workers/{name}/restore": Row(ADMINS),
    "GET /v1/audit": Row(ADMINS),
    "POST /v1/keys": Row(CHANGE, body={}),
    "GET /v1/keys": Row(READ),
    "GET /v1/keys/{key_id}": Row(READ_OWN),
    "DELETE /v1/keys/{key_id}": Row(CHANGE_OWN),
    "POST /v1/keys/{key_id}/rotate": Row(CHANGE_OWN),
    "POST /v1/jobs": Row(CHANGE, body=DIGITS),
    "POST /v1/jobs/bulk": Row(CHANGE, body={"jobs": [DIGITS]}),
    "GET /v1/jobs": Row(READ),
    "GET /v1/jobs/{job_id}": Row(READ_OWN),
    "POST /v1/jobs/{job_id}/cancel": Row(CHANGE_OWN),
    "POST /v1/jobs/{job_id}/pause": Row(CHANGE_OWN),
    "POST /v1/jobs/{job_id}/resume": Row(CHANGE_OWN),
    "POST /v1/jobs/{job_id}/priority": Row(CHANGE_OWN, body={"priority": 0}),
    "POST /v1/jobs/{job_id}/fork": Row(CHANGE_OWN, body={}),
    "POST /v1/jobs/{job_id}/retry": Row(CHANGE_OWN),
    "GET /v1/jobs/{job_id}/curves": Row(READ_OWN),
    "GET /v1/jobs/{job_id}/checkpoints": Row(READ_OWN),
    "GET /v1/jobs/{job_id}/checkpoints/{step}": Row(READ_OWN),
    "HEAD /v1/jobs/{job_id}/checkpoints/{step}": Row(READ_OWN),
    "GET /v1/jobs/{job_id}/answers": Row(READ_OWN),
    "GET /v1/jobs/{job_id}/answers/compare": Row(READ_OWN, query="other={job_id}"),
    "GET /v1/jobs/{job_id}/events": Row(READ_OWN),
    "GET /v1/jobs/{job_id}/log": Row(READ_OWN, query="follow=true"),
    "GET /v1/jobs/{job_id}/curves/stream": Row(READ_OWN),
    "GET /v1/jobs/{job_id}/events/stream": Row(READ_OWN),
    "POST /v1/runs": Row(CHANGE, body={"token": TOKEN}),
    "POST /v1/runs/{job_id}/return": Row(CHANGE_OWN, body={"token": TOKEN}),
    "POST /v1/runs/{job_id}/batches": Row(CHANGE_OWN, body={"number": 1, "columns": []}),
    "PUT /v1/runs/{job_id}/batches/{number}": Row(CHANGE_OWN),
    "POST /v1/runs/{job_id}/heartbeat": Row(CHANGE_OWN),
    "POST /v1/runs/{job_id}/log": Row(CHANGE_OWN, body={"first_byte": 0, "text": ""}),
    "POST /v1/runs/{job_id}/end": Row(CHANGE_OWN, body={"how": "finished"}),
    "GET /v1/runs/{job_id}/environment": Row(READ_OWN),
    "POST /v1/studies": Row(CHANGE, body={"base": DIGITS, "arms": {"mhe": {"regularizer": {"kind": "mhe"}}}}),
    "GET /v1/studies": Row(READ),
    "GET /v1/studies/{study_id}": Row(READ_OWN),
    "GET /v1/studies/{study_id}/table": Row(READ_OWN),
    "GET /v1/studies/{study_id}/examples": Row(READ_OWN),
    "GET /v1/studies/{study_id}/curves": Row(READ_OWN),
    "DELETE /v1/studies/{study_id}": Row(CHANGE_OWN),
    **{
        f"POST /v1/studies/{{study_id}}/{action}": Row(CHANGE_OWN, body=body)
        for action, body in {
            **dict.fromkeys(("pause", "resume", "cancel", "retry")),
            "extend": {"seeds": 1},
            "enlist": {"arm": "ours", "tag": "nobody"},
        }.items()
    },
    "POST /v1/runs/{job_id}/files": Row(CHANGE_OWN, body={"name": "x", "bytes": 9, "sha256": "ab" * 32}),
    "PUT /v1/runs/{job_id}/files/{file_id}/parts/{number}": Row(CHANGE_OWN, query="sha256=" + "ab" * 32),
    "POST /v1/runs/{job_id}/files/{file_id}/complete": Row(CHANGE_OWN),
    "GET /v1/jobs/{job_id}/files": Row(READ_OWN),
    "GET /v1/jobs/{job_id}/files/{name}": Row(READ_OWN),
    "HEAD /v1/jobs/{job_id}/files/{name}": Row(READ_OWN),
    "DELETE /v1/jobs/{job_id}/files/{name}": Row(CHANGE_OWN),
    "GET /v1/curves": Row(READ_OWN, query="job={job_id}"),
    "POST /v1/datasets": Row(CHANGE, body={"name": "x", "source": "npz", "bytes": 9, "sha256": "ab" * 32}),
    "GET /v1/datasets": Row(READ),
    "GET /v1/datasets/{name}": Row(READ_OWN),
    "GET /v1/datasets/{name}/versions/{version}": Row(READ_OWN, query="owner=ada"),
    "PUT /v1/datasets/{name}/versions/{version}/parts/{number}": Row(CHANGE_OWN, query="owner=ada&sha256=" + "ab" * 32),
    "POST /v1/datasets/{name}/versions/{version}/complete": Row(CHANGE_OWN, query="owner=ada"),
    "PATCH /v1/datasets/{name}/versions/{version}": Row(CHANGE_OWN, query="owner=ada", body={"licence": "CC0"}),
    "DELETE /v1/datasets/{name}/versions/{version}": Row(CHANGE_OWN, query="owner=ada"),
    "POST /v1/webhooks": Row(CHANGE, body={"url": "http://127.0.0.1:9000/"}),
    "GET /v1/webhooks": Row(READ),
    "GET /v1/webhooks/{webhook_id}": Row(READ_MINE),
    "PATCH /v1/webhooks/{webhook_id}": Row(CHANGE_MINE, body={}),
    "DELETE /v1/webhooks/{webhook_id}": Row(CHANGE_MINE),
    "POST /v1/webhooks/{webhook_id}/rotate": Row(CHANGE_MINE),
    "POST /v1/webhooks/{webhook_id}/test": Row(CHANGE_MINE),
    "GET /v1/webhooks/{webhook_id}/deliveries": Row(READ_MINE),
    "GET /v1/webhooks/{webhook_id}/deliveries/{delivery_id}": Row(READ_MINE),
    "POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": Row(CHANGE_MINE),
}


def routes() -> set[str]:
    """Every method and path of the app."""
    found = set()
    for route in iter_route_contexts(create_app().routes):
        found |= {f"{method} {route.path_format}" for method in (route.methods or set())}
    return found


@pytest.fixture
def everybody(http: TestClient) -> dict[str, str | None]:
    """A key of each of `WHO`."""
    with database.transaction() as session:
        owner = keys.issue(session, user="ada", role=Role.MEMBER).key
        expired = keys.create(session, user="ada", role=Role.ADMIN, expires_in=timedelta(seconds=-1))
        revoked = keys.issue(session, user="ada", role=Role.ADMIN)
        session.execute(update(ApiKey).where(ApiKey.id == revoked.row.id).values(revoked_at=func.now()))
        viewer = keys.create(session, user="ada", role=Role.VIEWER)
        other = keys.create(session, user="bob", role=Role.MEMBER)
        admin = keys.create(session, user="root", role=Role.ADMIN)
    return dict(zip(WHO, (None, expired, revoked.key, viewer, other, owner, admin), strict=True))


@pytest.fixture
def of_ada(everybody: dict[str, str | None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """What the parameters of the paths name: a failed job of ada's with a checkpoint and a file, a key of hers, a
    worker, her, and a data set that she uploads.
    """
    monkeypatch.setenv("HSU_WEBHOOK_ALLOW", "127.0.0.0/8")
    monkeypatch.setenv("HSU_ARTIFACTS_DIR", str(tmp_path))
    settings.settings.cache_clear()
    room = Room("ada", "default", ("cpu:0",), 1)  # her namesake, so that `name` names both
    with database.transaction() as session:
        issued = keys.issue(session, user="ada", role=Role.MEMBER)
        job = lifecycle.submit(session, parse(DIGITS), owner=issued.row.user)
        workers.register(session, room.worker, pool="default", devices=room.free, slots=1)
    with database.transaction() as session:
        claim = attempts.claim(session, room, settings.settings())
        assert claim is not None
        session.flush()
        step = stored(session, claim, settings.settings())[-1].step
        diverged = Failed(code="diverged", message="it is not finite")
        attempts.settle(session, claim.token, diverged, settings.settings())
        answers.keep(session, job.id, Answers(count=3, bits=b"oA=="))
        owner = session.get_one(User, issued.row.user_id)
        url, events = "http://127.0.0.1:9000/", ["failed"]
        hook = subscriptions.create(session, owner, url=url, events=events, settings=settings.settings())
        session.flush()
        delivery = subscriptions.ping(session, hook)
        session.flush()
        new = NewDataset(name="ada", source="npz", bytes=9, sha256="cd" * 32)
        uploads.begin(session, owner, new, settings.settings())
        arms = {"mhe": {"regularizer": {"kind": "mhe"}}}
        study = requests.begin(
            session, StudySpec(base=DIGITS, arms=arms, seeds=1), settings.settings(), key=issued.row
        ).study
        of_ada = {"job_id": job.id, "owner_id": owner.id, "attempt": 1, "name": "ada", "state": FileState.READY}
        kept = SavedFile(**of_ada, bytes=3, part_bytes=1024, sha256="ab" * 32, path=f"jobs/{job.id}/saved/1")
        session.add(kept)
        session.flush()
    ids = {
        "study_id": study.id,
        "job_id": job.id,
        "step": step,
        "key_id": issued.row.id,
        "webhook_id": hook.id,
        "delivery_id": delivery.id,
        "file_id": kept.id,
    }
    return {"name": "ada", "version": "1", "number": "1"} | {name: str(value) for name, value in ids.items()}


def test_every_route_has_a_line_in_the_matrix() -> None:
    assert routes() == set(MATRIX)


@pytest.mark.parametrize("route", MATRIX)
def test_a_route_lets_in_whom_it_should(
    http: TestClient, everybody: dict[str, str | None], of_ada: dict[str, str], route: str
) -> None:
    row = MATRIX[route]
    method, path = route.split()
    url = f"{path}?{row.query}".format_map(of_ada)
    met = {who: _ask(http, method, url, key=everybody[who], body=row.body) for who in WHO}
    assert met == dict(zip(WHO, row.expected, strict=True))


def _ask(http: TestClient, method: str, url: str, *, key: str | None, body: Any) -> str | int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    status = http.request(method, url, headers=headers, json=body).status_code
    assert status < 500
    return status if status in (NO_KEY, FORBIDDEN, UNSEEN) else OK
