"""Studies over HTTP: what is queued, what is refused and where, and what is added later."""

from __future__ import annotations

import csv
import io
import math
import statistics
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS
from study_runs import run_all

from hsu_jobs import database, settings
from hsu_jobs.artifacts import answers
from hsu_jobs.results import Answers
from hsu_jobs.studies import queueing
from hsu_jobs.tables import Role

STUDY: dict[str, Any] = {
    "name": "does it help?",
    "base": DIGITS,
    "arms": {
        "mhe": {"regularizer": {"kind": "mhe", "s": 2, "hidden_weight": 10}},
        "mgd": {"regularizer": {"kind": "mgd"}},
    },
    "seeds": 3,
}


@pytest.fixture
def begin() -> Callable[..., dict[str, Any]]:
    """Begin a study as this client."""

    def begun(client: TestClient, **change: Any) -> dict[str, Any]:
        answer = client.post("/v1/studies", json=STUDY | change)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    return begun


def better(spec: dict[str, Any]) -> float:
    """Every seed is a little different, and mhe is better than the rest."""
    gain = {"mhe": 0.05, "mgd": 0.001 * (-1) ** spec["seed"]}.get(spec["regularizer"]["kind"], 0.0)
    return 0.8 + 0.01 * spec["seed"] + gain + 0.0001 * (7 * spec["seed"] % 5)


def refused(client: TestClient, **change: Any) -> list[tuple[str, str]]:
    answer = client.post("/v1/studies", json=STUDY | change)
    assert answer.status_code == 422, answer.text
    assert client.get("/v1/jobs").json()["jobs"] == []
    return [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]]


def table(client: TestClient, study: dict[str, Any]) -> dict[str, Any]:
    answer = client.get(f"/v1/studies/{study['id']}/table")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_study_queues_every_arm_with_every_seed_and_a_baseline(
    ada: TestClient, begin: Callable[..., dict[str, Any]]
) -> None:
    study = begin(ada)
    assert [cell["label"] for cell in study["cells"]] == ["baseline", "mhe", "mgd"]
    assert (study["runs"], study["has_ended"], study["gpu_seconds_left"]) == ({"queued": 9}, False, None)
    jobs = ada.get("/v1/jobs", params={"tag": f"study:{study['id']}", "limit": 100}).json()["jobs"]
    made = sorted((job["spec"]["regularizer"]["kind"], job["spec"]["seed"]) for job in jobs)
    assert made == [(kind, seed) for kind in ("mgd", "mhe", "none") for seed in range(3)]
    assert {tag for job in jobs for tag in job["tags"]} == {
        f"study:{study['id']}",
        "arm:baseline",
        "arm:mhe",
        "arm:mgd",
    }
    assert ada.get("/v1/studies").json()["studies"][0]["id"] == study["id"]
    in_order = [job["spec"]["seed"] for job in reversed(jobs)]
    assert in_order == sorted(in_order)


def test_axes_are_crossed_with_every_arm_and_those_of_penalties_not_with_the_baseline(
    ada: TestClient, begin: Callable[..., dict[str, Any]]
) -> None:
    axes = {"/optimizer/lr": [0.05, 0.1], "/regularizer/hidden_weight": [1, 10]}
    study = begin(ada, arms={"mhe": {"regularizer": {"kind": "mhe"}}}, over=axes, seeds=6)
    labels = [cell["label"] for cell in study["cells"]]
    assert labels[:2] == ["baseline at lr=0.05", "baseline at lr=0.1"]
    assert labels[2:] == [f"mhe at lr={lr}, hidden_weight={weight}" for lr in (0.05, 0.1) for weight in (1, 10)]
    run_all(better)
    (metric,) = table(ada, study)["metrics"]
    against = {cell["label"]: cell["contrast"] and cell["contrast"]["baseline"] for cell in metric["cells"]}
    assert against[labels[0]] is None
    assert {against[label] for label in labels if "mhe at lr=0.05" in label} == {"baseline at lr=0.05"}
    assert metric["contrasts"] == 4


def test_axes_and_arms_may_change_a_part_of_a_default(ada: TestClient, begin: Callable[..., dict[str, Any]]) -> None:
    base = {name: value for name, value in DIGITS.items() if name != "optimizer"}
    arms = {"mhe": {"regularizer": {"kind": "mhe"}}, "fast": {"optimizer": {"momentum": 0.5}}}
    study = begin(ada, base=base, arms=arms, over={"/optimizer/lr": [0.05, 0.1]}, seeds=1)
    jobs = ada.get("/v1/jobs", params={"tag": f"study:{study['id']}"}).json()["jobs"]
    assert sorted({job["spec"]["optimizer"]["lr"] for job in jobs}) == [0.05, 0.1]
    assert {job["spec"]["optimizer"]["momentum"] for job in jobs if "arm:fast" in job["tags"]} == {0.5}


def test_the_table_tells_values_contrasts_runs_and_costs(ada: TestClient, begin: Callable[..., dict[str, Any]]) -> None:
    study = begin(ada, seeds=8, metrics=["test_accuracy", "mhe_s2@hidden*"])
    run_all(better)
    found = table(ada, study)
    accuracy, energy = found["metrics"]
    mhe = accuracy["cells"][1]
    assert mhe["mean"] == pytest.approx(sum(better({"seed": s, "regularizer": {"kind": "mhe"}}) for s in range(8)) / 8)
    contrast = mhe["contrast"]
    assert (contrast["pairs"], contrast["finding"]) == (8, "arm_is_better")
    assert contrast["difference"] == pytest.approx(0.05)
    assert (accuracy["is_exact"], accuracy["flips"]) == (True, 128)  # all of eight signs, but for the overall one
    assert accuracy["cells"][2]["contrast"]["finding"] == "not_shown"
    assert "do not show a difference" in accuracy["cells"][2]["contrast"]["verdict"]
    assert (energy["cells"][0]["random"], energy["cells"][0]["optimum"]) == (2.0, 1.0)
    assert energy["cells"][0]["mean"] == pytest.approx(1 + accuracy["cells"][0]["mean"])
    assert len(found["runs"]) == 24
    assert {run["state"] for run in found["runs"]} == {"succeeded"}
    assert all(run["values"]["test_accuracy"] for run in found["runs"])
    assert [cost["label"] for cost in found["costs"]] == ["baseline", "mhe", "mgd"]
    assert [note[:20] for note in found["notes"]] == ["In 0 of 16 pairs bot"]  # these results tell no hashes
    assert table(ada, study)["metrics"] == found["metrics"]  # now from what was kept of the curves


def test_the_table_is_also_csv_markdown_and_latex(ada: TestClient, begin: Callable[..., dict[str, Any]]) -> None:
    study = begin(ada, seeds=8, name="50% & more_of #it")
    run_all(better)
    path = f"/v1/studies/{study['id']}/table"
    rows = list(csv.DictReader(io.StringIO(ada.get(path, params={"format": "csv"}).text)))
    assert [row["cell"] for row in rows] == ["baseline", "mhe", "mgd"]
    assert float(rows[1]["difference"]) == pytest.approx(0.05)
    markdown = ada.get(path, params={"format": "markdown"}).text
    assert "| mhe | 0.885 ± 0.021 + |" in markdown
    latex = ada.get(path, params={"format": "latex"}).text
    assert r"50\% \& more\_of \#it" in latex
    assert r"mhe & 0.885 $\pm$ 0.021 +" in latex


def test_the_curves_of_a_cells_runs_are_a_band(ada: TestClient, begin: Callable[..., dict[str, Any]]) -> None:
    study = begin(ada, arms={"mhe": {"regularizer": {"kind": "mhe"}}}, seeds=3)
    path = f"/v1/studies/{study['id']}/curves"
    assert ada.get(path).json()["curves"] == []
    run_all(better)
    found = ada.get(path, params={"measure": "mhe_s2"}).json()
    assert found["width"] == 1
    assert [(curve["cell"], curve["layer"]) for curve in found["curves"]] == [
        ("baseline", "hidden1"),
        ("mhe", "hidden1"),
    ]
    mhe = found["curves"][1]
    values = [1 + better({"seed": seed, "regularizer": {"kind": "mhe"}}) for seed in range(3)]
    assert (mhe["steps"], mhe["runs"]) == ([0, 23], [3, 3])
    assert mhe["mean"] == [2.0, pytest.approx(statistics.fmean(values))]
    assert (mhe["min"][1], mhe["max"][1]) == (min(values), max(values))
    half = 4.302652729749464 * statistics.stdev(values) / math.sqrt(3)  # Student's t of two degrees of freedom
    assert (mhe["low"][0], mhe["high"][1]) == (2.0, pytest.approx(statistics.fmean(values) + half))
    wide = ada.get(path, params={"measure": "mhe_s2", "max_points": 1}).json()
    assert (wide["curves"][0]["steps"], wide["curves"][0]["max"]) == ([0], [2.0])
    unknown = ada.get(path, params={"measure": "mhe_s3"})
    assert (unknown.status_code, "mhe_s2" in unknown.json()["detail"]) == (404, True)


def test_cells_and_jobs_are_compared_on_the_same_test_examples(
    ada: TestClient, begin: Callable[..., dict[str, Any]]
) -> None:
    study = begin(ada, arms={"mhe": {"regularizer": {"kind": "mhe"}}}, seeds=2)
    assert ada.get(f"/v1/studies/{study['id']}/examples").json()["contrasts"] == []
    run_all(better)
    runs = table(ada, study)["runs"]
    with database.transaction() as session:
        for run in runs:  # mhe is right on ten more examples of a hundred
            right = 70 + 10 * (run["cell"] == "mhe")
            bits = int("1" * right + "0" * (104 - right), 2).to_bytes(13, "big")
            answers.keep(session, run["job"], Answers(count=100, bits=b64encode(bits)))
    (contrast,) = ada.get(f"/v1/studies/{study['id']}/examples").json()["contrasts"]
    assert (contrast["first"], contrast["networks"], contrast["examples"]) == ("mhe", 2, 100)
    assert (contrast["accuracy"], contrast["difference"]) == (pytest.approx(0.8), pytest.approx(0.1))
    assert (contrast["only_first_right"], contrast["only_other_right"]) == (20, 0)
    assert contrast["p"] == pytest.approx(2 * 0.5**10)
    assert "not about new seeds" in contrast["verdict"]
    mhe, baseline = (next(run["job"] for run in runs if run["cell"] == cell) for cell in ("mhe", "baseline"))
    pair = ada.get(f"/v1/jobs/{mhe}/answers/compare", params={"other": baseline}).json()
    assert (pair["only_first_right"], pair["only_other_right"], pair["networks"]) == (10, 0, 1)
    other = ada.post("/v1/jobs", json=DIGITS).json()["id"]
    assert ada.get(f"/v1/jobs/{mhe}/answers/compare", params={"other": other}).status_code == 404
    with database.transaction() as session:
        answers.keep(session, other, Answers(count=96, bits=b64encode(bytes(12))))
    refused = ada.get(f"/v1/jobs/{mhe}/answers/compare", params={"other": other})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "other_test_set")


def test_what_failed_is_counted_named_and_run_again(ada: TestClient, begin: Callable[..., dict[str, Any]]) -> None:
    study = begin(ada, seeds=6)
    run_all(lambda spec: None if spec["regularizer"]["kind"] == "mhe" and spec["seed"] == 2 else better(spec))
    found = table(ada, study)
    mhe = found["metrics"][0]["cells"][1]
    assert (mhe["n"], mhe["missing"], mhe["contrast"]["pairs"]) == (5, 1, 5)
    assert any("Missing, because they failed: mhe with seed 2" in note for note in found["notes"])
    (failed,) = [run for run in found["runs"] if run["state"] == "failed"]
    assert failed["failure"] == "diverged: the loss is not finite"

    again = ada.post(f"/v1/studies/{study['id']}/retry")
    assert (again.status_code, again.json()["runs"]) == (200, {"succeeded": 17, "queued": 1})
    run_all(better)
    found = table(ada, study)
    assert found["metrics"][0]["cells"][1]["n"] == 6
    assert [run["is_current"] for run in found["runs"] if run["cell"] == "mhe" and run["seed"] == 2] == [False, True]
    assert ada.post(f"/v1/studies/{study['id']}/retry").json()["runs"] == {"succeeded": 18}


def test_jobs_that_are_there_are_reused_unless_it_is_forbidden(
    ada: TestClient, begin: Callable[..., dict[str, Any]]
) -> None:
    first = begin(ada)
    run_all(better)
    second = begin(ada, seeds=4)
    assert second["runs"] == {"succeeded": 9, "queued": 3}
    quoted = ada.post("/v1/studies", params={"dry_run": True}, json=STUDY | {"seeds": 5}).json()
    assert (quoted["jobs"], quoted["reused"]) == (15, 12)
    assert quoted["gpu_seconds"] is not None
    assert begin(ada, reuse=False)["runs"] == {"queued": 9}
    assert ada.post(f"/v1/studies/{first['id']}/cancel").json()["runs"] == {"succeeded": 9}
    cancelled = ada.post(f"/v1/studies/{second['id']}/cancel").json()
    assert (cancelled["runs"], cancelled["has_ended"]) == ({"succeeded": 9, "cancelled": 3}, True)


def test_another_users_jobs_are_not_reused(
    ada: TestClient, as_user: Callable[[str], TestClient], begin: Callable[..., dict[str, Any]]
) -> None:
    begin(ada)
    run_all(better)
    assert begin(as_user("bob"))["runs"] == {"queued": 9}


def test_it_is_extended_by_seeds_and_arms_and_says_so(ada: TestClient, begin: Callable[..., dict[str, Any]]) -> None:
    study = begin(ada)
    run_all(better)
    more = {"seeds": 2, "arms": {"mhs": {"regularizer": {"kind": "mhs"}}}}
    extended = ada.post(f"/v1/studies/{study['id']}/extend", json=more)
    assert extended.status_code == 200, extended.text
    assert extended.json()["runs"] == {"succeeded": 9, "queued": 3 * 2 + 5}
    assert extended.json()["spec"]["seeds"] == [0, 1, 2, 3, 4]
    run_all(better)
    found = table(ada, study)
    assert [cell["n"] for cell in found["metrics"][0]["cells"]] == [5, 5, 5, 5]
    assert any("Extended by seeds 3, 4 and arms mhs" in note and "after 9 of 9 runs" in note for note in found["notes"])
    taken = ada.post(f"/v1/studies/{study['id']}/extend", json={"seeds": [4]})
    assert (taken.status_code, taken.json()["errors"][0]["pointer"]) == (422, "/seeds")
    known = ada.post(f"/v1/studies/{study['id']}/extend", json={"arms": {"mhe": {}}})
    assert (known.status_code, known.json()["errors"][0]["pointer"]) == (422, "/arms/mhe")


def test_it_pauses_resumes_cancels_and_is_deleted(ada: TestClient, begin: Callable[..., dict[str, Any]]) -> None:
    study = begin(ada)
    path = f"/v1/studies/{study['id']}"
    assert ada.post(f"{path}/pause").json()["runs"] == {"paused": 9}
    extended = ada.post(f"{path}/extend", json={"seeds": 1}).json()
    assert extended["runs"] == {"paused": 9, "unqueued": 3}
    assert ada.post(f"{path}/resume").json()["runs"] == {"queued": 12}
    assert ada.delete(path).json()["code"] == "study_not_ended"
    assert ada.post(f"{path}/cancel").json()["runs"] == {"cancelled": 12}
    assert ada.delete(path).status_code == 204
    assert ada.get(path).status_code == 404
    assert len(ada.get("/v1/jobs", params={"state": "cancelled"}).json()["jobs"]) == 12


def test_finished_jobs_and_tracked_runs_are_enlisted_by_tag(
    ada: TestClient, submit: Callable[..., dict[str, Any]], begin: Callable[..., dict[str, Any]]
) -> None:
    for seed in range(3):
        submit(ada, tags=["lab"], seed=seed, model={"kind": "mlp", "hidden": [16]})
    run_all(better)
    token = "1b4e28ba-2fa1-4d3b-883f-0016d3cca427"
    run = ada.post("/v1/runs", json={"token": token, "tags": ["lab"], "config": {"seed": 1}}).json()
    ended = {"how": "finished", "result": {"test_accuracy": 0.7}}
    assert ada.post(f"/v1/runs/{run['id']}/end", json=ended, headers={"HSU-Token": token}).status_code == 200
    study = begin(ada)
    run_all(better)
    asked = {"arm": "ours", "tag": "lab"}
    assert ada.post(f"/v1/studies/{study['id']}/enlist", json=asked).json() == {"enlisted": 4}
    assert ada.post(f"/v1/studies/{study['id']}/enlist", json=asked).json() == {"enlisted": 0}
    ours = table(ada, study)["metrics"][0]["cells"][3]
    assert (ours["label"], ours["n"], ours["contrast"]["pairs"]) == ("ours", 4, 3)
    nobody = ada.post(f"/v1/studies/{study['id']}/enlist", json={"arm": "ours", "tag": "none"})
    assert (nobody.status_code, nobody.json()["errors"][0]["pointer"]) == (422, "/tag")


def test_more_jobs_than_may_wait_are_refused_unless_the_study_waits(
    ada: TestClient, root: TestClient, begin: Callable[..., dict[str, Any]]
) -> None:
    ada.get("/v1/jobs")
    assert root.patch("/v1/users/ada", json={"max_waiting": 5}).status_code == 200
    full = ada.post("/v1/studies", json=STUDY)
    assert (full.status_code, full.json()["code"]) == (409, "quota_exceeded")
    assert "5 jobs queued or paused" in full.json()["detail"]
    assert "9 more" in full.json()["detail"]
    study = begin(ada, wait=True)
    assert study["runs"] == {"queued": 5, "unqueued": 4}
    run_all(better)
    with database.transaction() as session:
        assert len(queueing.advance_all(session, settings.settings())) == 4
    run_all(better)
    assert ada.get(f"/v1/studies/{study['id']}").json()["runs"] == {"succeeded": 9}


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"over": {"/optimizer/rate": [1]}}, "/over/~1optimizer~1rate/0", "extra_forbidden"),
        ({"over": {"/optimizer/lr": [0.1, -1]}}, "/over/~1optimizer~1lr/1", "greater_than"),
        ({"over": {"/seed": [1]}}, "/over/~1seed", "axis_collides"),
        ({"over": {"/optimizer": [{"kind": "sgd"}], "/optimizer/lr": [1]}}, "/over/~1optimizer~1lr", "axis_collides"),
        ({"over": {"/regularizer/kind": ["mhe"]}}, "/over/~1regularizer~1kind", "axis_collides"),
        ({"over": {"/optimizer/lr": [0.1, 0.1]}}, "/over/~1optimizer~1lr", "equal_points"),
        ({"over": {"/priority": [1, 2]}}, "/over/~1priority", "equal_points"),
        ({"arms": {"a": {}, "b": {"batch_size": 128}}, "base": DIGITS | {"batch_size": 128}}, "/arms/b", "equal_arms"),
        ({"arms": {"none": {"regularizer": {"kind": "none"}}}}, "/arms/none", "equal_arms"),
        ({"arms": {"mhe": {"regularizer": {"kind": "mhee"}}}}, "/arms/mhe/regularizer", "union_tag_invalid"),
        ({"base": DIGITS | {"model": {"kind": "mlp", "hidden": [0]}}}, "/base/model/hidden/0", "greater_than_equal"),
        ({"arms": {"baseline": {}}}, "/arms/baseline", "baseline_not_named"),
        ({"baseline": "other"}, "/baseline", "unknown_arm"),
        ({"metrics": ["test_acuracy"]}, "/metrics/0", "unknown_metric"),
        ({"metrics": ["mhe_s2@conv*"]}, "/metrics/0", "unknown_metric"),
        ({"metrics": ["recall_at_20"]}, "/metrics/0", "unknown_metric"),
        ({"value": "best_validation"}, "/value", "no_validation"),
        ({"seeds": [1, 1]}, "/seeds", "repeated"),
        ({"seeds": 0}, "/seeds", "greater_than_equal"),
        ({"seeds": 1000, "over": {"/optimizer/lr": [0.1, 0.2]}}, "/seeds", "too_many_runs"),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(
    ada: TestClient, change: dict[str, Any], pointer: str, code: str
) -> None:
    assert (pointer, code) in refused(ada, **change)


def test_near_metrics_are_named(ada: TestClient) -> None:
    answer = ada.post("/v1/studies", json=STUDY | {"metrics": ["test_acuracy"]}).json()
    assert "did you mean test_accuracy" in answer["detail"]


def test_one_seed_is_a_table_without_tests_that_says_why(ada: TestClient, begin: Callable[..., dict[str, Any]]) -> None:
    study = begin(ada, seeds=1)
    run_all(better)
    found = table(ada, study)
    contrast = found["metrics"][0]["cells"][1]["contrast"]
    assert (contrast["p"], contrast["finding"]) == (None, "too_few_pairs")
    assert any("There is one seed" in note for note in found["notes"])


def test_the_best_evaluation_is_marked_as_too_good(ada: TestClient, begin: Callable[..., dict[str, Any]]) -> None:
    study = begin(ada, value="best")
    run_all(better)
    assert any("chosen on the data that it is measured on" in note for note in table(ada, study)["notes"])


def test_others_do_not_see_it(
    ada: TestClient, as_user: Callable[..., TestClient], begin: Callable[..., dict[str, Any]]
) -> None:
    study = begin(ada)
    assert as_user("bob").get(f"/v1/studies/{study['id']}").status_code == 404
    assert as_user("bob").get("/v1/studies").json()["studies"] == []
    assert as_user("root", Role.ADMIN).get(f"/v1/studies/{study['id']}").status_code == 200
