"""ETag and If-None-Match: what the client has is not sent again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS, TRAINED
from sqlalchemy import text
from waiting import until

from hsu_jobs import attempts, database, settings
from hsu_jobs.attempts import Claim
from hsu_jobs.outcomes import Succeeded

Submit = Callable[..., dict[str, Any]]


def again(client: TestClient, path: str, tag: str) -> int:
    """The status of the same request with what is known."""
    return client.get(path, headers={"If-None-Match": tag}).status_code


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs",
        "/v1/jobs?fields=id",
        "/v1/jobs/{id}",
        "/v1/jobs/{id}?fields=id",
        "/v1/jobs/{id}/events",
        "/v1/jobs/{id}/checkpoints",
        "/v1/jobs/{id}/curves",
        "/v1/catalog",
        "/v1/workers",
        "/openapi.json",
    ],
)
@pytest.mark.parametrize("state", ["queued", "cancelled"])
def test_what_the_client_has_is_not_sent_again(ada: TestClient, submit: Submit, path: str, state: str) -> None:
    job = submit(ada)["id"]
    if state == "cancelled":
        ada.post(f"/v1/jobs/{job}/cancel")
    first, same = _under_one_picture(lambda: _twice(ada, path.format(id=job)))
    assert first.status_code == 200, first.text
    assert (same.status_code, same.content) == (304, b"")
    for name in ("etag", "cache-control", "vary"):
        assert same.headers[name] == first.headers[name]
    assert (first.headers["cache-control"], first.headers["vary"]) == ("private, no-cache", "Authorization")
    assert not {"content-type", "content-length"} & set(same.headers)


def _twice(client: TestClient, path: str) -> tuple[Any, Any]:
    """An answer, and what is answered to who has it."""
    first = client.get(path)
    return first, client.get(path, headers={"If-None-Match": first.headers["etag"]})


def _under_one_picture(ask: Callable[[], tuple[Any, Any]]) -> tuple[Any, Any]:
    """Two answers under one picture of why jobs wait: it is taken anew every two seconds of the database's clock."""
    while True:
        before, (first, second) = _picture(), ask()
        if second.status_code == 304 or _picture() == before:
            return first, second


def _picture() -> int:
    with database.reading() as session:
        return session.execute(text("SELECT floor(extract(epoch FROM now()) / 2)::bigint")).scalar_one()


@pytest.mark.parametrize("known", ["*", '"a", {tag}', "W/{tag}", '"a" , W/{tag},"b"'])
def test_a_tag_may_stand_among_others_and_be_weak(ada: TestClient, known: str) -> None:
    tag = ada.get("/v1/catalog").headers["etag"].removeprefix("W/")
    assert again(ada, "/v1/catalog", known.format(tag=tag)) == 304


@pytest.mark.parametrize("known", ['"other"', "", "nonsense", '"'])
def test_another_tag_gets_the_whole_answer(ada: TestClient, known: str) -> None:
    assert again(ada, "/v1/catalog", known) == 200


def test_a_jobs_tag_changes_with_whatever_happens_to_it(
    ada: TestClient, submit: Submit, start: Callable[[], Claim], save: Callable[..., None]
) -> None:
    path = f"/v1/jobs/{submit(ada)['id']}"
    seen = [ada.get(path).headers["etag"]]

    def is_another() -> bool:
        seen.append(ada.get(path).headers["etag"])
        return seen[-1] not in seen[:-1] and again(ada, path, seen[-2]) == 200 and again(ada, path, seen[-1]) == 304

    claim = start()
    assert is_another()
    save(claim, 3)
    assert is_another()
    ada.post(f"{path}/cancel")
    assert is_another()
    with database.transaction() as session:
        attempts.settle(session, claim.token, Succeeded(result=TRAINED), settings.settings())
    assert is_another()
    assert seen[-1].startswith('W/"')


def test_a_jobs_tag_is_as_long_with_many_attempts_and_its_view_tells_the_last_ones(
    ada: TestClient, submit: Submit, start: Callable[[], Claim]
) -> None:
    few, many = (f"/v1/jobs/{submit(ada)['id']}" for _ in range(2))
    with database.transaction() as session:
        session.execute(
            text(
                "INSERT INTO attempts (job_id, number, worker, device, token, lease_expires_at, ended_at) SELECT "
                ":job, n, 'w', 'cpu:0', gen_random_uuid(), now(), now() FROM generate_series(1, 32767) AS n"
            ),
            {"job": int(many.rpartition("/")[2])},
        )
        session.execute(text("UPDATE jobs SET priority = 1 WHERE id = :job"), {"job": int(many.rpartition("/")[2])})
    tags = [ada.get(path).headers["etag"] for path in (few, many)]
    assert [len(tag) for tag in tags] == [36, 36]
    claim = start()
    seen = ada.get(many)
    assert claim.attempt == seen.json()["attempt_count"] == 2**15
    assert [attempt["number"] for attempt in seen.json()["attempts"]] == list(range(2**15 - 19, 2**15 + 1))
    assert seen.headers["etag"] != tags[1]
    assert len(seen.content) < 20_000
    assert len(ada.get("/v1/jobs").content) < 40_000
    for number, status in ((2**15, 200), (1, 200), (2**15 + 1, 404), (2**31, 400)):
        assert ada.get(f"{many}/log?attempt={number}").status_code == status
    assert "there are 1 to 32768" in ada.get(f"{many}/log?attempt=40000").text


def test_the_tag_of_a_queued_job_changes_with_what_is_ahead_of_it(
    root: TestClient, submit: Submit, start: Callable[[], Claim]
) -> None:
    submit(root)
    path = f"/v1/jobs/{submit(root)['id']}"
    tag = root.get(path).headers["etag"]
    start()
    until(lambda: again(root, path, tag) == 200)


def test_a_tag_opens_nothing(ada: TestClient, as_user: Callable[[str], TestClient], submit: Submit) -> None:
    path = f"/v1/jobs/{submit(ada)['id']}"
    ada.post(f"{path}/cancel")
    tag = ada.get(path).headers["etag"]
    assert again(as_user("bo"), path, tag) == 404
    assert again(as_user("bo"), path, "*") == 404
    assert again(TestClient(ada.app), path, tag) == 401


def test_a_refusal_and_a_change_have_no_tag(ada: TestClient) -> None:
    for answer in (ada.get("/v1/jobs/1"), ada.get("/v1/jobs?limit=0"), ada.post("/v1/jobs", json=DIGITS)):
        assert "etag" not in answer.headers


def test_a_log_is_a_download_and_has_none(ada: TestClient, submit: Submit, start: Callable[[], Claim]) -> None:
    job = submit(ada)["id"]
    start()
    answer = ada.get(f"/v1/jobs/{job}/log")
    assert answer.status_code == 200
    assert "etag" not in answer.headers


def test_the_document_tells_of_it_wherever_it_is_so(http: TestClient) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    for path in ("/v1/jobs", "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/events", "/v1/catalog"):
        assert "304" in paths[path]["get"]["responses"]
        assert "ETag" in paths[path]["get"]["responses"]["200"]["headers"]
    assert "304" not in paths["/v1/jobs/{job_id}/log"]["get"]["responses"]
    assert "304" not in paths["/v1/jobs"]["post"]["responses"]
