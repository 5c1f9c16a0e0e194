"""Studies that search, over HTTP: which trials begin, what the table says of them, and what is refused."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS
from study_runs import claim_next, end, run_all

from hsu_jobs import database, settings
from hsu_jobs.studies import queueing

SPACE: dict[str, Any] = {
    "/optimizer/lr": {"kind": "float", "low": 0.001, "high": 1, "log": True},
    "/batch_size": {"kind": "int", "low": 16, "high": 256},
    "/optimizer/momentum": {"kind": "choice", "choices": [0, 0.5, 0.9]},
    "/regularizer/hidden_weight": {"kind": "float", "low": 0.1, "high": 10, "log": True},
}
TRIALS = 14
STUDY: dict[str, Any] = {
    "name": "which learning rate?",
    "base": DIGITS,
    "arms": {"mhe": {"regularizer": {"kind": "mhe"}}},
    "seeds": 1,
    "reuse": False,
    "search": {"space": SPACE, "trials": TRIALS, "at_once": 3},
}


def searched(client: TestClient, **change: Any) -> dict[str, Any]:
    answer = client.post("/v1/studies", json=STUDY | {"search": STUDY["search"] | change.pop("search", {})} | change)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def smooth(spec: dict[str, Any]) -> float:
    """Best at lr = 0.05 and a batch of 64, and a little better with a momentum of 0.9."""
    optimizer = spec["optimizer"]
    away = math.log10(optimizer["lr"] / 0.05) ** 2 + math.log2(spec["batch_size"] / 64) ** 2 / 4
    return 0.9 - 0.05 * away + 0.01 * optimizer["momentum"] + 0.001 * spec["seed"]


def sweep() -> int:
    """What every worker does from time to time."""
    with database.transaction() as session:
        return len(queueing.advance_all(session, settings.settings()))


def to_the_end(accuracy: Callable[[dict[str, Any]], float | None] = smooth) -> None:
    """Run what waits, and sweep, until there is nothing more."""
    run_all(accuracy)
    while sweep():
        run_all(accuracy)


def table(client: TestClient, study: dict[str, Any]) -> dict[str, Any]:
    answer = client.get(f"/v1/studies/{study['id']}/table")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def trials(client: TestClient, study: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The trials of each arm."""
    return [search["trials"] for search in table(client, study)["searches"]]


def test_each_arm_gets_the_same_budget_and_is_searched_in_the_fields_that_it_has(ada: TestClient) -> None:
    study = searched(ada)
    assert [(each["label"], each["trials"], each["begun"]) for each in study["searches"]] == [
        ("baseline", TRIALS, 3),
        ("mhe", TRIALS, 3),
    ]
    assert (study["runs"], study["has_ended"]) == ({"queued": 6}, False)
    run_all(smooth)
    assert ada.get(f"/v1/studies/{study['id']}").json()["has_ended"] is False
    to_the_end()
    ended = ada.get(f"/v1/studies/{study['id']}").json()
    assert (ended["runs"], ended["has_ended"]) == ({"succeeded": 2 * TRIALS}, True)
    baseline, mhe = trials(ada, study)
    assert set(baseline[0]["point"]) == set(SPACE) - {"/regularizer/hidden_weight"}
    assert set(mhe[0]["point"]) == set(SPACE)
    for trial in mhe:
        point = trial["point"]
        assert 0.001 <= point["/optimizer/lr"] <= 1
        assert 16 <= point["/batch_size"] <= 256
        assert point["/optimizer/momentum"] in (0, 0.5, 0.9)
    jobs = ada.get("/v1/jobs", params={"tag": f"study:{study['id']}", "limit": 100}).json()["jobs"]
    asked = {(each["spec"]["optimizer"]["lr"], each["spec"]["batch_size"]) for each in jobs}
    assert asked == {(each["point"]["/optimizer/lr"], each["point"]["/batch_size"]) for each in (*baseline, *mhe)}


def test_the_table_has_trials_in_order_the_best_so_far_and_no_claim(ada: TestClient) -> None:
    study = searched(ada, seeds=2)
    empty = table(ada, study)
    assert [search["best"] for search in empty["searches"]] == [None, None]
    assert "none has a value" in empty["searches"][0]["verdict"]
    to_the_end()
    found = table(ada, study)
    for search in found["searches"]:
        values = [trial["value"] for trial in search["trials"]]
        assert [trial["number"] for trial in search["trials"]] == list(range(TRIALS))
        assert search["best"] == values.index(max(values))
        assert f"best so far is trial {search['best']}" in search["verdict"]
        of_best = [run for run in found["runs"] if run["cell"] == search["trials"][search["best"]]["cell"]]
        assert max(values) == pytest.approx(sum(run["values"]["test_accuracy"] for run in of_best) / 2)
    (metric,) = found["metrics"]
    in_order = [trial["cell"] for search in found["searches"] for trial in search["trials"]]
    assert [cell["label"] for cell in metric["cells"]] == in_order
    assert [run["cell"] for run in found["runs"]] == [label for label in in_order for _ in range(2)]
    assert len(in_order) == 2 * TRIALS
    assert {cell["contrast"] for cell in metric["cells"]} == {None}
    assert any("on the test set" in note and "too good" in note for note in found["notes"])
    assert any("Nothing is tested between the winners" in note for note in found["notes"])
    markdown = ada.get(f"/v1/studies/{study['id']}/table", params={"format": "markdown"}).text
    assert f"mhe: {TRIALS} of {TRIALS} trials have ended" in markdown


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_same_trials_are_asked_whatever_is_faster_and_wherever_the_service_is_killed(
    ada: TestClient, sampler: str
) -> None:
    first = searched(ada, search={"sampler": sampler})
    to_the_end()
    undisturbed = trials(ada, first)
    draw = random.Random(3)
    second = searched(ada, search={"sampler": sampler})
    while not ada.get(f"/v1/studies/{second['id']}").json()["has_ended"]:
        claims = [claim for _ in range(draw.randint(1, 6)) if (claim := claim_next())]
        draw.shuffle(claims)
        for claim in claims:
            end(claim, smooth)
            _killed_before_the_commit()
            if draw.random() < 0.5:
                sweep()
        sweep()
    assert trials(ada, second) == undisturbed


def _killed_before_the_commit() -> None:
    """A sweep of a worker that is killed: whatever it has asked is not in the database."""
    with suppress(KeyboardInterrupt), database.transaction() as session:
        queueing.advance_all(session, settings.settings())
        raise KeyboardInterrupt


def test_trials_that_fail_have_no_value_and_the_search_goes_on(ada: TestClient) -> None:
    study = searched(ada)
    to_the_end(lambda spec: None if spec["optimizer"]["momentum"] == 0.9 else smooth(spec))
    for search in table(ada, study)["searches"]:
        assert len(search["trials"]) == TRIALS
        failed = [trial for trial in search["trials"] if trial["value"] is None]
        assert all(trial["has_ended"] for trial in failed)
        assert {trial["point"]["/optimizer/momentum"] for trial in failed} == {0.9}
        assert search["trials"][search["best"]]["value"] is not None


def test_the_same_search_again_asks_the_same_and_runs_nothing(ada: TestClient) -> None:
    first = searched(ada, reuse=True)
    to_the_end()
    again = searched(ada, reuse=True)
    assert (again["runs"], again["has_ended"]) == ({"succeeded": 2 * TRIALS}, True)
    assert trials(ada, again) == trials(ada, first)


def test_many_trials_whose_jobs_are_there_are_asked_in_several_transactions(
    ada: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = searched(ada, reuse=True)
    to_the_end()
    monkeypatch.setattr(queueing, "MOST_ASKED", 8)
    again = searched(ada, reuse=True)
    assert (again["runs"], again["has_ended"]) == ({"succeeded": 12}, False)
    while not ada.get(f"/v1/studies/{again['id']}").json()["has_ended"]:
        assert sweep() == 0
    assert trials(ada, again) == trials(ada, first)


def test_a_search_that_is_cancelled_asks_nothing_until_it_is_resumed(ada: TestClient) -> None:
    study = searched(ada)
    path = f"/v1/studies/{study['id']}"
    assert ada.post(f"{path}/pause").json()["runs"] == {"paused": 6}
    assert (sweep(), ada.post(f"{path}/resume").json()["runs"]) == (0, {"queued": 6})
    cancelled = ada.post(f"{path}/cancel").json()
    assert (cancelled["runs"], cancelled["has_ended"], sweep()) == ({"cancelled": 6}, True, 0)
    again = ada.post(f"{path}/retry").json()
    assert again["runs"] == {"queued": 6}
    to_the_end()
    assert ada.get(path).json()["runs"] == {"succeeded": 2 * TRIALS}


def test_arms_that_are_added_are_searched_too_and_each_point_of_the_axes_by_itself(ada: TestClient) -> None:
    study = searched(ada, over={"/model/hidden": [[8], [16]]}, search={"trials": 3})
    labels = [each["label"] for each in study["searches"]]
    assert labels == [f"{arm} at hidden=[{width}]" for arm in ("baseline", "mhe") for width in (8, 16)]
    to_the_end()
    more = ada.post(f"/v1/studies/{study['id']}/extend", json={"arms": {"mhs": {"regularizer": {"kind": "mhs"}}}})
    assert more.status_code == 200, more.text
    assert [each["label"] for each in more.json()["searches"]] == [*labels, "mhs at hidden=[8]", "mhs at hidden=[16]"]
    to_the_end()
    assert [len(each) for each in trials(ada, study)] == [3] * 6
    assert len({cell["label"] for cell in table(ada, study)["metrics"][0]["cells"]}) == 18


def test_an_arm_without_a_field_to_search_has_one_trial(ada: TestClient) -> None:
    space = {"/regularizer/hidden_weight": SPACE["/regularizer/hidden_weight"]}
    study = searched(ada, search={"space": space})
    assert [each["trials"] for each in study["searches"]] == [1, TRIALS]


def test_points_that_are_no_spec_are_told_and_cost_a_trial(ada: TestClient) -> None:
    space = {
        "/optimizer/nesterov": {"kind": "choice", "choices": [False, True]},
        "/optimizer/momentum": {"kind": "choice", "choices": [0, 0.9]},
    }
    base = DIGITS | {"optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.5}}
    study = searched(ada, base=base, search={"space": space, "trials": 12})
    to_the_end()
    found = table(ada, study)
    for search in found["searches"]:
        impossible = [trial for trial in search["trials"] if trial["value"] is None]
        assert 0 < len(impossible) < 12
        assert {tuple(trial["point"].values()) for trial in impossible} == {(0, True)}  # Nesterov needs a momentum
        assert all(any(trial["cell"] in note for note in found["notes"]) for trial in impossible)
    assert ada.get(f"/v1/studies/{study['id']}").json()["has_ended"] is True


def test_a_quote_counts_all_trials(ada: TestClient) -> None:
    quoted = ada.post("/v1/studies", params={"dry_run": True}, json=STUDY | {"seeds": 2}).json()
    assert (quoted["jobs"], quoted["reused"], len(quoted["cells"])) == (2 * 2 * TRIALS, 0, 2)


def _space(pointer: str, **searched: Any) -> dict[str, Any]:
    return {"search": {"space": {pointer: searched}, "trials": 3}}


LR = "/search/space/~1optimizer~1lr"


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        (
            _space("/optimizer/rate", kind="float", low=0.1, high=1),
            "/search/space/~1optimizer~1rate/low",
            "extra_forbidden",
        ),
        (_space("/optimizer/lr", kind="float", low=-1, high=1), f"{LR}/low", "greater_than"),
        (_space("/optimizer/lr", kind="choice", choices=[0.1, "fast"]), f"{LR}/choices/1", "float_type"),
        (_space("/optimizer/lr", kind="float", low=1, high=0.1), f"{LR}/low", "not_below_high"),
        (_space("/optimizer/lr", kind="float", low=0, high=0.1, log=True), f"{LR}/low", "log_of_zero"),
        (_space("/optimizer/lr", kind="choice", choices=[0.1, 0.1]), f"{LR}/choices", "repeated"),
        (_space("/optimizer/lr", kind="normal", mean=0), LR, "union_tag_invalid"),
        (_space("/batch_size", kind="int", low=1.5, high=3), "/search/space/~1batch_size/low", "int_from_float"),
        (_space("/seed", kind="int", low=1, high=9), "/search/space/~1seed", "search_collides"),
        (_space("/priority", kind="int", low=1, high=9), "/search/space/~1priority", "changes_nothing"),
        (
            _space("/dataset/kind", kind="choice", choices=["digits", "mnist"]),
            "/search/space/~1dataset~1kind",
            "not_searchable",
        ),
        (
            _space("/regularizer/kind", kind="choice", choices=["mhe", "mgd"]),
            "/search/space/~1regularizer~1kind",
            "search_collides",
        ),
        (
            _space("/optimizer/lr", kind="float", low=0.1, high=1) | {"over": {"/optimizer/lr": [0.1]}},
            LR,
            "search_collides",
        ),
        (
            _space("/optimizer/lr", kind="float", low=0.1, high=1) | {"over": {"/optimizer": [{"kind": "sgd"}]}},
            LR,
            "search_collides",
        ),
        ({"search": STUDY["search"] | {"metric": "test_loss"}}, "/search/metric", "unknown_metric"),
        ({"search": STUDY["search"] | {"trials": 0}}, "/search/trials", "greater_than_equal"),
        ({"search": STUDY["search"] | {"at_once": 65}}, "/search/at_once", "less_than_equal"),
        ({"search": STUDY["search"] | {"sampler": "grid"}}, "/search/sampler", "literal_error"),
        ({"search": STUDY["search"] | {"space": {}}}, "/search/space", "too_short"),
        ({"search": STUDY["search"] | {"trials": 1000}, "seeds": 3}, "/seeds", "too_many_runs"),
    ],
)
def test_what_cannot_be_searched_is_refused_where_it_stands(
    ada: TestClient, change: dict[str, Any], pointer: str, code: str
) -> None:
    answer = ada.post("/v1/studies", json=STUDY | change)
    assert answer.status_code == 422, answer.text
    assert (pointer, code) in [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]]
    assert ada.get("/v1/jobs").json()["jobs"] == []
