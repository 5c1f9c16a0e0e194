"""Tracked runs over HTTP: a loop elsewhere begins, sends points, comes back, and ends, each once."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tracked_runs import begin, come_back, post, send, token

Tree = dict[str, Any]


def curve(client: TestClient, run: int, measure: str = "loss") -> tuple[list[int], list[Any]]:
    answer = client.get(f"/v1/jobs/{run}/curves", params={"measure": measure})
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["curves"]
    return found["steps"], found["values"]


def test_a_run_is_a_job_that_runs_from_the_start_and_ends_with_its_numbers(ada: TestClient) -> None:
    mine = token()
    run = begin(ada, mine, tags=["lab"])["id"]
    assert send(ada, run, mine, 1, [0, 5, 10], loss=[3.0, 2.0, 1.0], accuracy=[0.1, 0.2, 0.3]).json()["applied"] == 1
    job = ada.get(f"/v1/jobs/{run}").json()
    assert (job["state"], job["step"], job["spec"]["task"], job["spec"]["config"]) == (
        "running",
        10,
        "tracked",
        {"lr": 0.1},
    )
    assert [each["id"] for each in ada.get("/v1/jobs", params={"tag": "lab"}).json()["jobs"]] == [run]
    assert (
        post(ada, run, mine, "end", how="finished", result={"best": 0.3, "worst": "NaN"}).json()["state"] == "succeeded"
    )
    job = ada.get(f"/v1/jobs/{run}").json()
    assert job["result"] == {"task": "tracked", "values": {"best": 0.3, "worst": "NaN"}}
    assert curve(ada, run) == ([0, 5, 10], [3.0, 2.0, 1.0])
    kinds = [each["event"]["kind"] for each in ada.get(f"/v1/jobs/{run}/events").json()["events"]]
    assert kinds == ["submitted", "started", "ended"]


def test_what_is_sent_twice_counts_once(ada: TestClient) -> None:
    mine = token()
    run = begin(ada, mine)["id"]
    assert begin(ada, mine)["id"] == run
    for _ in range(3):
        assert send(ada, run, mine, 1, [0, 1], loss=[2.0, 1.0]).json()["applied"] == 1
    assert send(ada, run, mine, 2, [2], loss=[0.5]).json()["applied"] == 2
    assert curve(ada, run) == ([0, 1, 2], [2.0, 1.0, 0.5])
    ends = [post(ada, run, mine, "end", how="failed", message="OutOfMemory: no") for _ in range(2)]
    assert [each.json()["state"] for each in ends] == ["failed", "failed"]


def test_a_batch_that_comes_too_early_is_refused_and_names_the_next_one(ada: TestClient) -> None:
    mine = token()
    run = begin(ada, mine)["id"]
    refused = send(ada, run, mine, 2, [0], loss=[1.0])
    assert (refused.status_code, refused.json()["code"]) == (409, "batch_out_of_order")
    assert "batch 1 comes next" in refused.json()["detail"]


def test_batches_in_json_and_in_bytes_are_the_same(ada: TestClient) -> None:
    mine = token()
    run = begin(ada, mine)["id"]
    columns = [{"series": [{"measure": "loss"}], "steps": [0, 1], "times": [1, 1], "values": [["Infinity", "NaN"]]}]
    assert post(ada, run, mine, "batches", number=1, columns=columns).json()["applied"] == 1
    assert send(ada, run, mine, 2, [2, 3], loss=[float("-inf"), 1.0]).json()["applied"] == 2
    assert curve(ada, run) == ([0, 1, 2, 3], ["Infinity", "NaN", "-Infinity", 1.0])


def test_a_curve_has_one_value_a_step_and_other_curves_go_their_own_way(ada: TestClient) -> None:
    mine = token()
    run = begin(ada, mine)["id"]
    send(ada, run, mine, 1, [0, 1, 2], loss=[2.0, 1.0, 0.0])
    again = send(ada, run, mine, 2, [2, 3], loss=[9.0, -1.0], accuracy=[0.2, 0.3])
    assert again.json()["left_out"] == 1
    assert send(ada, run, mine, 3, [1], late=[0.5]).json()["left_out"] == 0
    assert curve(ada, run) == ([0, 1, 2, 3], [2.0, 1.0, 0.0, -1.0])
    assert curve(ada, run, "accuracy") == ([2, 3], [0.2, 0.3])
    assert curve(ada, run, "late") == ([1], [0.5])


def test_silence_past_the_lease_is_lost_and_the_run_may_come_back(
    ada: TestClient, lose: Callable[[], list[int]]
) -> None:
    first, second = token(), token()
    run = begin(ada, first)["id"]
    send(ada, run, first, 1, [0, 1, 2], loss=[3.0, 2.0, 1.0])
    assert lose() == [run]
    job = ada.get(f"/v1/jobs/{run}").json()
    assert (job["state"], job["attempts"][-1]["outcome"]["kind"]) == ("lost", "lost")
    assert [each["id"] for each in ada.get("/v1/jobs", params={"state": "lost"}).json()["jobs"]] == [run]
    gone = send(ada, run, first, 2, [3], loss=[0.0])
    assert (gone.status_code, gone.json()["code"]) == (409, "attempt_ended")
    back = come_back(ada, run, second, after=first).json()
    assert (back["attempt"], back["applied"], back["step"]) == (2, 1, 3)
    assert send(ada, run, second, 1, [2], loss=[9.0]).json()["applied"] == 1  # which was applied before
    assert send(ada, run, second, 2, [3], loss=[0.0]).json()["applied"] == 2
    assert curve(ada, run) == ([0, 1, 2, 3], [3.0, 2.0, 1.0, 0.0])


def test_going_back_to_a_step_rolls_the_curves_back(ada: TestClient, lose: Callable[[], list[int]]) -> None:
    first, second = token(), token()
    run = begin(ada, first)["id"]
    send(ada, run, first, 1, [0, 1, 2, 3], loss=[3.0, 2.0, 1.0, 0.0])
    lose()
    assert come_back(ada, run, second, step=2).json()["step"] == 2
    assert curve(ada, run) == ([0, 1], [3.0, 2.0])
    assert send(ada, run, second, 1, [2, 3], loss=[7.0, 6.0]).json()["left_out"] == 0
    assert curve(ada, run) == ([0, 1, 2, 3], [3.0, 2.0, 7.0, 6.0])
    restored = [each["event"] for each in ada.get(f"/v1/jobs/{run}/events").json()["events"]][-1]
    assert restored == {"kind": "restored", "attempt": 2, "step": 2}


def test_a_client_that_was_away_does_not_take_the_run_from_another_one(ada: TestClient) -> None:
    first, second = token(), token()
    run = begin(ada, first)["id"]
    assert come_back(ada, run, second).status_code == 200  # its owner takes it over while it runs
    refused = come_back(ada, run, token(), after=first)
    assert (refused.status_code, refused.json()["code"]) == (409, "attempt_ended")
    assert come_back(ada, run, second).json()["attempt"] == 2


def test_what_the_owner_wants_reaches_the_loop(ada: TestClient) -> None:
    mine = token()
    run = begin(ada, mine)["id"]
    assert post(ada, run, mine, "heartbeat").json()["wanted"] == "run"
    assert ada.post(f"/v1/jobs/{run}/pause").status_code == 202
    assert post(ada, run, mine, "heartbeat").json()["wanted"] == "pause"
    assert post(ada, run, mine, "end", how="paused").json()["state"] == "paused"
    refused = ada.post(f"/v1/jobs/{run}/resume")
    assert (refused.status_code, refused.json()["legal"]) == (409, ["cancel"])
    back = token()
    assert come_back(ada, run, back).json()["wanted"] == "run"
    assert ada.post(f"/v1/jobs/{run}/cancel").status_code == 202
    assert post(ada, run, back, "heartbeat").json()["wanted"] == "cancel"
    assert post(ada, run, back, "end", how="cancelled").json()["state"] == "cancelled"


def test_an_ended_run_stays_as_it_is(ada: TestClient) -> None:
    mine = token()
    run = begin(ada, mine)["id"]
    post(ada, run, mine, "end", how="finished")
    refused = come_back(ada, run, token())
    assert (refused.status_code, refused.json()["code"]) == (409, "illegal_move")
    for action in ("cancel", "pause", "retry"):
        assert ada.post(f"/v1/jobs/{run}/{action}").json().get("legal", []) == []


def test_no_worker_takes_a_run_and_nothing_of_it_waits(ada: TestClient, start: Callable[[], Any]) -> None:
    begin(ada, token())
    with pytest.raises(AssertionError):
        start()
    assert ada.get("/v1/queue").json()["places"] == []


def test_a_job_of_a_worker_is_no_run(ada: TestClient, submit: Callable[..., Tree]) -> None:
    job = submit(ada)["id"]
    refused = come_back(ada, job, token())
    assert (refused.status_code, refused.json()["code"]) == (409, "illegal_move")
    assert ada.post("/v1/jobs", json={"task": "tracked"}).status_code == 422


def test_another_run_s_token_opens_nothing(ada: TestClient) -> None:
    first, second = token(), token()
    run, other = begin(ada, first)["id"], begin(ada, second)["id"]
    assert send(ada, run, second, 1, [0], loss=[1.0]).status_code == 409
    assert post(ada, other, first, "end", how="finished").status_code == 409


def test_lines_are_kept_once(ada: TestClient) -> None:
    mine = token()
    run = begin(ada, mine)["id"]
    for first_byte, text in ((0, "é one\n"), (0, "é one\n"), (7, "two\n")):
        assert post(ada, run, mine, "log", first_byte=first_byte, text=text).status_code == 204
    assert ada.get(f"/v1/jobs/{run}/log").text == "é one\ntwo\n"


def test_the_environment_is_shown_by_attempt(ada: TestClient) -> None:
    run = begin(ada, token(), environment={"host": "laptop", "packages": ["torch==2"]})["id"]
    shown = ada.get(f"/v1/runs/{run}/environment").json()
    assert shown == {"attempt": 1, "environment": {"host": "laptop", "packages": ["torch==2"]}}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "4 bytes"),
        (struct.pack("<I", 100) + b"{}", "the head should have 100 bytes, found 2"),
        (struct.pack("<I", 2) + b"{}", "columns: Field required"),
        (struct.pack("<I", 14) + b'{"columns":[]}' + b"x", "0 bytes are expected, found 1"),
    ],
)
def test_bytes_that_are_no_batch_are_refused_with_what_is_wrong(ada: TestClient, body: bytes, said: str) -> None:
    mine = token()
    run = begin(ada, mine)["id"]
    headers = {"HSU-Token": mine, "Content-Type": "application/octet-stream"}
    refused = ada.put(f"/v1/runs/{run}/batches/1", content=body, headers=headers)
    assert refused.status_code in (400, 422), refused.text
    assert said in refused.text or not body


def test_steps_that_do_not_ascend_are_refused(ada: TestClient) -> None:
    mine = token()
    run = begin(ada, mine)["id"]
    assert "steps ascend" in send(ada, run, mine, 1, [1, 1], loss=[1.0, 2.0]).json()["detail"]
    columns = [{"series": [{"measure": "loss"}], "steps": [1, 0], "times": [1, 1], "values": [[1, 2]]}]
    assert "steps ascend" in post(ada, run, mine, "batches", number=1, columns=columns).json()["detail"]


@pytest.mark.parametrize("config", [{"a": "\x00"}, {"a": "\ud800"}, {"a": "x" * 70_000}, {"": 1}])
def test_a_config_that_cannot_be_stored_is_refused(ada: TestClient, config: Tree) -> None:
    body = json.dumps({"token": token(), "config": config})
    refused = ada.post("/v1/runs", content=body, headers={"Content-Type": "application/json"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"].split("/")[1]) == (422, "config"), refused.text


def test_a_run_of_long_ago_has_its_own_times(ada: TestClient) -> None:
    mine = token()
    run = begin(ada, mine, began_at=1.7e9)["id"]
    assert post(ada, run, mine, "end", how="finished", ended_at=1.7e9 + 60).json()["state"] == "succeeded"
    job = ada.get(f"/v1/jobs/{run}").json()
    began, ended = "2023-11-14T22:13:20Z", "2023-11-14T22:14:20Z"
    assert (job["started_at"], job["finished_at"]) == (began, ended)
    assert [(each["started_at"], each["ended_at"]) for each in job["attempts"]] == [(began, ended)]
    mine = token()
    run = begin(ada, mine, began_at=1.7e9)["id"]
    post(ada, run, mine, "end", how="failed", ended_at=1.0)
    assert ada.get(f"/v1/jobs/{run}").json()["finished_at"] == began
    assert ada.post("/v1/runs", json={"token": token(), "began_at": 1e12}).status_code == 422
