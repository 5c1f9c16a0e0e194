"""Lists of jobs: filters, orders, pages, and fields."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

import pytest
from fastapi.testclient import TestClient
from samples import PLACED, POINTS, ROOM, TRAINED

from hsu_core import spec
from hsu_jobs import attempts, database, listing, settings
from hsu_jobs.outcomes import Succeeded
from hsu_jobs.results import METRICS, AnyResult, TrainingResult
from hsu_jobs.tables import Role

Submit = Callable[..., dict[str, Any]]


@pytest.fixture
def run(http: TestClient, submit: Submit) -> Callable[..., int]:
    """A job that has succeeded, with this accuracy."""

    def ran(client: TestClient, accuracy: float | None, ece: float | None = None, **change: Any) -> int:
        job = submit(client, **change) if accuracy is not None else client.post("/v1/jobs", json=POINTS).json()
        result = PLACED if accuracy is None else TRAINED.model_copy(update={"test_accuracy": accuracy, "ece": ece})
        with database.transaction() as session:
            claim = attempts.claim(session, ROOM, settings.settings())
            assert claim is not None
            session.flush()
            attempts.settle(session, claim.token, Succeeded(result=result), settings.settings())
        found: int = job["id"]
        return found

    return ran


def listed(client: TestClient, **asked: Any) -> list[int]:
    answer = client.get("/v1/jobs", params=asked)
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["jobs"]]


def walked(client: TestClient, **asked: Any) -> list[int]:
    """The whole list, page by page."""
    found: list[int] = []
    while True:
        answer = client.get("/v1/jobs", params=asked)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [job["id"] for job in page["jobs"]]
        if page["next_cursor"] is None:
            return found
        asked["cursor"] = page["next_cursor"]


def refused(client: TestClient, **asked: Any) -> dict[str, str]:
    answer = client.get("/v1/jobs", params=asked)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), answer.text
    (fault,) = answer.json()["errors"]
    return fault


def test_jobs_are_chosen_by_what_their_specs_hold(ada: TestClient, submit: Submit) -> None:
    mhe = submit(ada, tags=["a", "b"], name="Half space 50%")["id"]
    mhs = submit(ada, tags=["a"], regularizer={"kind": "mhs"}, model={"kind": "small_cnn"})["id"]
    points = ada.post("/v1/jobs", json=POINTS).json()["id"]
    assert listed(ada, tag="a") == [mhs, mhe]
    assert listed(ada, tag=["a", "b"]) == [mhe]
    assert listed(ada, regularizer="mhs") == [mhs]
    assert listed(ada, regularizer=["mhs", "mhe"]) == [mhs, mhe]
    assert listed(ada, model="small_cnn") == [mhs]
    assert listed(ada, dataset="digits") == [mhs, mhe]
    assert listed(ada, name="SPACE 50%") == [mhe]
    assert listed(ada, name="0_") == []
    assert listed(ada, name="thomson") == [points]
    assert listed(ada, pool="elsewhere") == []
    assert listed(ada, pool="default", tag="b") == [mhe]


def test_jobs_are_chosen_by_state_owner_age_and_fingerprint(
    ada: TestClient, as_user: Callable[[str], TestClient], root: TestClient, submit: Submit
) -> None:
    first, second = submit(ada), submit(ada, seed=1)
    others = submit(as_user("bo"))
    ada.post(f"/v1/jobs/{second['id']}/cancel")
    assert listed(ada, state="cancelled") == [second["id"]]
    assert listed(ada, state=["queued", "cancelled"]) == [second["id"], first["id"]]
    assert listed(root) == [others["id"], second["id"], first["id"]]
    assert listed(root, owner="bo") == [others["id"]]
    assert listed(ada, owner="bo") == []
    assert listed(ada, fingerprint=first["fingerprint"]) == [first["id"]]
    assert listed(root, fingerprint=first["fingerprint"]) == [others["id"], first["id"]]
    assert listed(ada, created_after=second["created_at"]) == [second["id"]]
    assert listed(ada, created_before=second["created_at"]) == [first["id"]]


def test_jobs_are_chosen_by_bounds_on_their_results(ada: TestClient, submit: Submit, run: Callable[..., int]) -> None:
    good, bad, broken, points = run(ada, 0.97), run(ada, 0.5), run(ada, math.nan), run(ada, None)
    submit(ada)
    assert listed(ada, where="test_accuracy:ge:0.97") == [good]
    assert listed(ada, where="test_accuracy:gt:0.97") == []
    assert listed(ada, where="test_accuracy:lt:0.97") == [bad]
    assert listed(ada, where=["test_accuracy:gt:0.1", "test_accuracy:le:0.5"]) == [bad]
    assert listed(ada, where="test_loss:le:1.5") == [broken, bad, good]
    assert listed(ada, where="value:lt:1") == [points]


def test_pages_are_right_among_ties_and_without_metrics(
    ada: TestClient, submit: Submit, run: Callable[..., int]
) -> None:
    top = [run(ada, accuracy) for accuracy in (0.9, 0.5, 0.5, 0.5, 0.1)]
    none = [run(ada, math.nan), run(ada, None), submit(ada)["id"], submit(ada)["id"]]
    best_first = [top[0], top[3], top[2], top[1], top[4], *reversed(none)]
    worst_first = [top[4], top[1], top[2], top[3], top[0], *none]
    for limit in (1, 2, 3, 9):
        assert walked(ada, sort="-test_accuracy", limit=limit) == best_first
        assert walked(ada, sort="test_accuracy", limit=limit) == worst_first


def test_a_list_is_sorted_by_what_evaluate_asks_for_and_jobs_without_it_come_last(
    ada: TestClient, run: Callable[..., int]
) -> None:
    bad, unknown, good = run(ada, 0.9, ece=0.25), run(ada, 0.9), run(ada, 0.9, ece=0.125)
    assert walked(ada, sort="ece", limit=1) == [good, bad, unknown]
    assert walked(ada, sort="-ece", limit=1) == [bad, good, unknown]
    assert listed(ada, where="ece:lt:0.2") == [good]
    (best, *_) = ada.get("/v1/jobs", params={"sort": "ece"}).json()["jobs"]
    assert (best["result"]["ece"], best["result"]["nc1"], best["result"]["adversarial"]) == (0.125, None, None)


def test_a_list_is_sorted_by_name_priority_and_age(root: TestClient, submit: Submit) -> None:
    made = [submit(root, name=name, priority=p)["id"] for name, p in (("b", 1), ("a", 5), ("b", 5), ("c", -1))]
    one, two, three, four = made
    for limit in (1, 2, 4):
        assert walked(root, sort="created", limit=limit) == made
        assert walked(root, sort="-created", limit=limit) == made[::-1]
        assert walked(root, sort="name", limit=limit) == [two, one, three, four]
        assert walked(root, sort="-name", limit=limit) == [four, three, one, two]
        assert walked(root, sort="-priority", limit=limit) == [three, two, one, four]


@pytest.mark.parametrize("sort", get_args(listing.Sort))
def test_every_sort_pages_through_every_job(
    ada: TestClient, submit: Submit, run: Callable[..., int], sort: str
) -> None:
    made = [run(ada, 0.5), run(ada, None), submit(ada)["id"]]
    assert sorted(walked(ada, sort=sort, limit=1)) == made


def test_a_page_begins_where_the_one_before_ended_whatever_came_meanwhile(ada: TestClient, submit: Submit) -> None:
    made = [submit(ada)["id"] for _ in range(4)]
    first = ada.get("/v1/jobs", params={"limit": 2}).json()
    submit(ada)
    assert listed(ada, cursor=first["next_cursor"]) == made[1::-1]


def test_a_cursor_of_another_query_is_refused(ada: TestClient, submit: Submit) -> None:
    for _ in range(2):
        submit(ada)
    cursor = ada.get("/v1/jobs", params={"limit": 1}).json()["next_cursor"]
    for change in ({"state": "queued"}, {"sort": "created"}, {"where": "gap:gt:0"}):
        fault = refused(ada, cursor=cursor, **change)
        assert (fault["pointer"], fault["code"]) == ("#query/cursor", "cursor_of_another_query")
    assert len(listed(ada, cursor=cursor, limit=7, fields="id")) == 1


@pytest.mark.parametrize("cursor", ["garbage", "é", "WzFd", "e30", "W10=", "bnVsbA", "WyJhIiwgMSwgIngiXQ"])
def test_a_cursor_that_is_none_is_refused(ada: TestClient, cursor: str) -> None:
    assert refused(ada, cursor=cursor)["code"] in {"invalid_cursor", "cursor_of_another_query"}


def test_a_forged_cursor_is_no_more_than_a_bad_request(ada: TestClient, submit: Submit) -> None:
    digest = listing._digest(listing.Listing(sort="-priority"))
    for key, job_id in (("high", 1), (None, 1), (1e300, 1), (1, 2**70), ([1], 1), (True, 1)):
        forged = listing._encoded(listing._Cursor(key, job_id), digest)
        assert refused(ada, cursor=forged, sort="-priority")["code"] == "invalid_cursor"


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"limit": 0}, "#query/limit"),
        ({"limit": 201}, "#query/limit"),
        ({"sort": "beauty"}, "#query/sort"),
        ({"state": "asleep"}, "#query/state/0"),
        ({"regularizer": "magic"}, "#query/regularizer/0"),
        ({"tag": "no spaces"}, "#query/tag/0"),
        ({"where": "beauty:gt:1"}, "#query/where/0"),
        ({"where": "test_accuracy>0.9"}, "#query/where/0"),
        ({"where": "test_accuracy:near:0.9"}, "#query/where/0"),
        ({"where": "test_accuracy:gt:e"}, "#query/where/0"),
        ({"created_after": "yesterday"}, "#query/created_after"),
        ({"created_after": "2026-11-25T12:00:00"}, "#query/created_after"),
        ({"fingerprint": "abc"}, "#query/fingerprint"),
        ({"staet": "queued"}, "#query/staet"),
        ({"name": "a\x00b"}, "#query/name"),
        ({"owner": "\x00"}, "#query/owner"),
    ],
)
def test_a_filter_that_means_nothing_is_named(ada: TestClient, asked: dict[str, Any], pointer: str) -> None:
    assert refused(ada, **asked)["pointer"] == pointer


def test_an_unknown_sort_is_told_what_there_is(ada: TestClient) -> None:
    told = refused(ada, sort="tset_accuracy")["detail"]
    assert told.startswith("there is no sort 'tset_accuracy' here; did you mean test_accuracy or ")
    assert "there are -created, created, -priority, " in told


def test_only_the_fields_that_are_asked_for_are_told(ada: TestClient, submit: Submit) -> None:
    job = submit(ada)
    expected = {"id": job["id"], "state": "queued"}
    assert ada.get("/v1/jobs", params={"fields": "id,state"}).json() == {"jobs": [expected], "next_cursor": None}
    assert ada.get(f"/v1/jobs/{job['id']}", params={"fields": "state, id"}).json() == expected


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/{id}"])
def test_a_field_that_there_is_not_is_refused_with_those_that_it_may_mean(
    ada: TestClient, submit: Submit, path: str
) -> None:
    answer = ada.get(path.format(id=submit(ada)["id"]), params={"fields": "id,stat"})
    assert answer.status_code == 400
    (fault,) = answer.json()["errors"]
    assert (fault["pointer"], fault["code"]) == ("#query/fields", "unknown_field")
    assert fault["detail"] == "a job has no field 'stat'; there is state"


def test_what_can_be_asked_for_is_what_specs_and_results_hold() -> None:
    assert get_args(listing.RegularizerKind) == spec.kinds(spec.Regularizer)
    assert get_args(listing.ModelKind) == spec.kinds(spec.Model)
    assert get_args(listing.DatasetKind) == spec.kinds(spec.Dataset)
    trainings = [result for result in get_args(AnyResult) if issubclass(result, TrainingResult)]
    fields = {name for result in trainings for name in result.model_fields}
    tables = {"adversarial", "corruptions"}
    assert fields - {"task", "device", "plugins", "strength", "certificate"} - tables | {"value", "gap"} == set(METRICS)
    assert {sort.removeprefix("-") for sort in get_args(listing.Sort)} == {"created", "priority", "name", *METRICS}


def test_a_list_takes_a_bound_on_every_number_of_a_result(ada: TestClient) -> None:
    for metric in METRICS:
        assert ada.get("/v1/jobs", params={"where": f"{metric}:gt:0.5", "sort": f"-{metric}"}).json()["jobs"] == []


def test_an_admins_list_is_everyones_and_a_viewers_their_own(
    ada: TestClient, as_user: Callable[..., TestClient], root: TestClient, submit: Submit
) -> None:
    job = submit(ada)["id"]
    assert listed(root) == listed(as_user("ada", Role.VIEWER)) == [job]
    assert listed(as_user("eve", Role.VIEWER)) == []
