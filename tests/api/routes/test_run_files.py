"""Files that tracked runs save: sent in parts, put together, listed, downloaded, replaced, deleted."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS
from tracked_runs import begin, come_back, post, send, token

from hsu_jobs import database, run_files, settings
from hsu_jobs.artifacts import installation
from worker import maintenance

Tree = dict[str, Any]


@pytest.fixture(autouse=True)
def artifacts(http: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where the files are; parts of 1 kB; a worker has used the storage."""
    monkeypatch.setenv("HSU_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("HSU_PART_BYTES", "1024")
    settings.settings.cache_clear()
    with database.transaction() as session:
        installation.marked_storage(session, settings.settings())
    return tmp_path / "artifacts"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def state(value: int = 1, *, floats: int = 300) -> bytes:
    """A safetensors file of one tensor of a network."""
    tensor = {"dtype": "F32", "shape": [floats], "data_offsets": [0, 4 * floats]}
    head = json.dumps({"__metadata__": {"made": "here"}, "model/w": tensor}).encode()
    return len(head).to_bytes(8, "little") + head + bytes([value]) * (4 * floats)


def declare(client: TestClient, run: int, mine: str, content: bytes, name: str = "notes.txt", **more: Any) -> Any:
    body = {"name": name, "bytes": len(content), "sha256": sha256(content)} | more
    return client.post(f"/v1/runs/{run}/files", json=body, headers={"HSU-Token": mine})


def put(client: TestClient, run: int, mine: str, upload: Tree, number: int, part: bytes) -> Any:
    headers = {"HSU-Token": mine, "Content-Type": "application/octet-stream"}
    path = f"/v1/runs/{run}/files/{upload['id']}/parts/{number}"
    return client.put(path, params={"sha256": sha256(part)}, content=part, headers=headers)


def complete(client: TestClient, run: int, mine: str, upload: Tree, **query: int) -> Any:
    headers = {"HSU-Token": mine}
    return client.post(f"/v1/runs/{run}/files/{upload['id']}/complete", params=query, headers=headers)


def save(
    client: TestClient, run: int, mine: str, content: bytes, name: str = "notes.txt", keep: int = 0, **more: Any
) -> Tree:
    upload = declare(client, run, mine, content, name, **more).json()
    for number in range(upload["parts"]):
        part = content[1024 * number : 1024 * (number + 1)]
        assert put(client, run, mine, upload, number + 1, part).status_code == 204
    answer = complete(client, run, mine, upload, **({"keep": keep} if keep else {}))
    assert answer.status_code == 200, answer.text
    return answer.json()


def names(client: TestClient, run: int) -> list[str]:
    return [each["name"] for each in client.get(f"/v1/jobs/{run}/files").json()["files"]]


def steps(client: TestClient, run: int) -> list[int]:
    return [each["step"] for each in client.get(f"/v1/jobs/{run}/checkpoints").json()["checkpoints"]]


@pytest.fixture
def mine() -> str:
    return token()


@pytest.fixture
def run(ada: TestClient, mine: str) -> int:
    return int(begin(ada, mine)["id"])


def stored(artifacts: Path) -> list[str]:
    return sorted(path.relative_to(artifacts).as_posix() for path in artifacts.rglob("*") if path.is_file())


def test_a_file_comes_back_as_it_was_sent(ada: TestClient, run: int, mine: str, artifacts: Path) -> None:
    content = bytes(range(256)) * 10
    made = save(ada, run, mine, content, "plots/ä b.png")
    assert (made["state"], made["parts"], made["arrived"]) == ("ready", 3, [])
    (listed,) = ada.get(f"/v1/jobs/{run}/files").json()["files"]
    assert (listed["name"], listed["bytes"], listed["sha256"], listed["step"]) == (
        "plots/ä b.png",
        2560,
        sha256(content),
        None,
    )
    whole = ada.get(f"/v1/jobs/{run}/files/plots/ä b.png")
    assert (whole.content, whole.headers["etag"]) == (content, f'"{sha256(content)}"')
    assert whole.headers["content-disposition"] == "attachment; filename*=utf-8''%C3%A4%20b.png"
    part = ada.get(f"/v1/jobs/{run}/files/plots/ä b.png", headers={"Range": "bytes=1000-"})
    assert (part.status_code, part.content) == (206, content[1000:])
    assert maintenance.clear_saved_files(settings.settings()) == 1
    assert stored(artifacts) == [".hsu-installation", f"jobs/{run}/saved/{made['id']}"]


def test_an_upload_that_was_cut_off_goes_on(ada: TestClient, run: int, mine: str) -> None:
    content = b"x" * 1500
    first = declare(ada, run, mine, content)
    assert put(ada, run, mine, first.json(), 2, content[1024:]).status_code == 204
    refused = complete(ada, run, mine, first.json())
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong_file_state")
    assert "of 2 parts 1 have not arrived: 1" in refused.json()["detail"]
    again = declare(ada, run, mine, content)
    assert (first.status_code, again.status_code, again.json()["id"]) == (201, 200, first.json()["id"])
    assert [part["number"] for part in again.json()["arrived"]] == [2]
    assert put(ada, run, mine, first.json(), 1, content[:1024]).status_code == 204
    for _ in range(2):
        assert complete(ada, run, mine, first.json()).json()["state"] == "ready"
    assert declare(ada, run, mine, content).json()["state"] == "ready"


def test_a_newer_file_takes_the_place_of_an_older_one(ada: TestClient, run: int, mine: str, artifacts: Path) -> None:
    old, new = save(ada, run, mine, b"old"), save(ada, run, mine, b"new")
    assert (names(ada, run), ada.get(f"/v1/jobs/{run}/files/notes.txt").content) == (["notes.txt"], b"new")
    assert maintenance.clear_saved_files(settings.settings()) == 2
    assert stored(artifacts)[1:] == [f"jobs/{run}/saved/{new['id']}"]
    assert old["id"] != new["id"]


def test_a_state_is_a_checkpoint_of_the_job(ada: TestClient, run: int, mine: str) -> None:
    for step in (10, 20, 30):
        save(ada, run, mine, state(step), f"step-{step}.safetensors", step=step)
    assert steps(ada, run) == [30, 20, 10]
    assert ada.get(f"/v1/jobs/{run}/checkpoints/20").content == state(20)
    weights = ada.get(f"/v1/jobs/{run}/checkpoints/20", params={"part": "weights"}).content
    assert weights.endswith(bytes([20]) * 1200)
    assert "saved" in [each["event"]["kind"] for each in ada.get(f"/v1/jobs/{run}/events").json()["events"]]
    save(ada, run, mine, state(40), "step-40.safetensors", step=40, keep=2)
    assert (steps(ada, run), names(ada, run)) == ([40, 30], ["step-30.safetensors", "step-40.safetensors"])
    save(ada, run, mine, state(41), "step-40.safetensors", step=40)
    assert ada.get(f"/v1/jobs/{run}/checkpoints/40").content == state(41)


def test_a_state_that_names_no_network_is_its_own_weights(ada: TestClient, run: int, mine: str) -> None:
    content = state().replace(b"model/w", b"other/w")
    save(ada, run, mine, content, "step-1.safetensors", step=1)
    assert ada.get(f"/v1/jobs/{run}/checkpoints/1", params={"part": "weights"}).content == content


def _damaged() -> list[tuple[bytes, str]]:
    whole = state()
    head = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}).encode()
    return [
        (pickle.dumps({"weights": [1.0]}), "it does not begin with the length of a head"),
        (whole[:-1], "bytes, it has"),
        ((2).to_bytes(8, "little") + b"[]", "its head cannot be read"),
        (len(head).to_bytes(8, "little") + head + bytes(8), "its tensors do not lie one behind the other"),
    ]


@pytest.mark.parametrize(("content", "said"), _damaged())
def test_a_state_is_a_safetensors_file(ada: TestClient, run: int, mine: str, content: bytes, said: str) -> None:
    upload = declare(ada, run, mine, content, "step-1.safetensors", step=1).json()
    for number in range(upload["parts"]):
        put(ada, run, mine, upload, number + 1, content[1024 * number : 1024 * (number + 1)])
    refused = complete(ada, run, mine, upload)
    assert (refused.status_code, refused.json()["code"]) == (409, "file_refused")
    assert said in refused.json()["detail"]
    assert (steps(ada, run), names(ada, run)) == ([], [])


def test_what_arrived_is_compared_with_the_hash_of_the_whole(ada: TestClient, run: int, mine: str) -> None:
    upload = declare(ada, run, mine, b"abc").json()
    assert put(ada, run, mine, upload, 1, b"abd").status_code == 204
    assert complete(ada, run, mine, upload).json()["code"] == "file_refused"
    assert declare(ada, run, mine, b"abc").status_code == 201


def test_a_part_is_as_declared(ada: TestClient, run: int, mine: str) -> None:
    upload = declare(ada, run, mine, b"abc").json()
    headers = {"HSU-Token": mine, "Content-Type": "application/octet-stream"}
    path = f"/v1/runs/{run}/files/{upload['id']}/parts"
    wrong = ada.put(f"{path}/1", params={"sha256": sha256(b"abd")}, content=b"abc", headers=headers)
    assert (wrong.status_code, wrong.json()["errors"][0]["code"]) == (400, "wrong_checksum")
    assert put(ada, run, mine, upload, 2, b"abc").status_code == 400
    assert put(ada, run, mine, upload, 1, b"abcd").status_code == 400
    assert put(ada, run, mine, {"id": upload["id"] + 1}, 1, b"abc").status_code == 404


@pytest.mark.parametrize("name", ["../up", "a/../b", "/top", "a//b", ".", "a\\b", "a\x00b", "", "x" * 201, "a/"])
def test_a_name_stays_within_its_folder(ada: TestClient, run: int, mine: str, name: str) -> None:
    assert declare(ada, run, mine, b"abc", name).status_code == 422


def test_a_state_says_that_it_is_safetensors(ada: TestClient, run: int, mine: str) -> None:
    refused = declare(ada, run, mine, b"abc", "state.pt", step=1)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "no_safetensors")


def test_a_user_may_not_save_more_than_the_quota(
    ada: TestClient, run: int, mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSU_SAVED_BYTES", "2000")
    monkeypatch.setattr(run_files, "MOST_FILES", 2)
    settings.settings.cache_clear()
    save(ada, run, mine, b"x" * 1500, "a")
    refused = declare(ada, run, mine, b"x" * 600, "b")
    assert (refused.status_code, refused.json()["code"]) == (409, "quota_exceeded")
    assert "may take 2,000 bytes, take 1,500, and b has 600" in refused.json()["detail"]
    assert ada.delete(f"/v1/jobs/{run}/files/a").status_code == 204
    for name in "bc":
        save(ada, run, mine, b"x", name)
    assert "run 1 has 2 files" in declare(ada, run, mine, b"x", "d").json()["detail"]


def test_only_the_client_that_holds_the_run_saves(ada: TestClient, run: int, mine: str, lose: Any) -> None:
    upload = declare(ada, run, mine, b"abc").json()
    lose()
    for refused in (
        declare(ada, run, mine, b"abd"),
        put(ada, run, mine, upload, 1, b"abc"),
        complete(ada, run, mine, upload),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "attempt_ended")
    back = token()
    come_back(ada, run, back)
    assert declare(ada, run, back, b"abc").json()["id"] == upload["id"]
    assert put(ada, run, back, upload, 1, b"abc").status_code == 204
    assert complete(ada, run, back, upload).status_code == 200


def test_a_run_that_goes_back_forgets_the_states_after_the_step(
    ada: TestClient, run: int, mine: str, artifacts: Path
) -> None:
    send(ada, run, mine, 1, list(range(30)), loss=[1.0] * 30)
    kept = save(ada, run, mine, state(), "step-10.safetensors", step=10)
    save(ada, run, mine, state(), "step-20.safetensors", step=20)
    notes = save(ada, run, mine, b"abc")
    post(ada, run, mine, "end", how="paused")
    assert come_back(ada, run, token(), step=10).json()["step"] == 10
    assert (steps(ada, run), names(ada, run)) == ([10], ["notes.txt", "step-10.safetensors"])
    maintenance.clear_saved_files(settings.settings())
    kept_files = [f"jobs/{run}/saved/{kept['id']}.safetensors", f"jobs/{run}/saved/{notes['id']}"]
    assert stored(artifacts)[1:] == sorted(kept_files)


def test_a_state_from_which_a_job_starts_is_not_deleted(ada: TestClient, run: int, mine: str) -> None:
    save(ada, run, mine, state(), "step-10.safetensors", step=10)
    save(ada, run, mine, state(), "step-20.safetensors", step=20)
    started = ada.post("/v1/jobs", json=DIGITS | {"initial": {"kind": "job", "job": run, "step": 10}})
    assert started.status_code == 201, started.text
    refused = ada.delete(f"/v1/jobs/{run}/files/step-10.safetensors")
    assert (refused.status_code, refused.json()["code"]) == (409, "state_in_use")
    save(ada, run, mine, state(), "step-30.safetensors", step=30, keep=1)
    assert steps(ada, run) == [30, 10]
    ada.post(f"/v1/jobs/{started.json()['id']}/cancel")
    assert ada.delete(f"/v1/jobs/{run}/files/step-10.safetensors").status_code == 204
    gone = ada.get(f"/v1/jobs/{run}/checkpoints/10")
    assert gone.status_code == 410


def test_a_run_is_not_forked(ada: TestClient, run: int, mine: str) -> None:
    save(ada, run, mine, state(), "step-10.safetensors", step=10)
    refused = ada.post(f"/v1/jobs/{run}/fork", json={})
    assert 400 <= refused.status_code < 500, refused.text


def test_a_damaged_file_is_not_sent(ada: TestClient, run: int, mine: str, artifacts: Path) -> None:
    made = save(ada, run, mine, b"abc")
    (artifacts / f"jobs/{run}/saved/{made['id']}").write_bytes(b"abd")
    gone = ada.get(f"/v1/jobs/{run}/files/notes.txt")
    assert (gone.status_code, gone.json()["code"]) == (410, "gone")
    assert f"file notes.txt of run {run} is damaged" in gone.json()["detail"]
    assert ada.get(f"/v1/jobs/{run}/files/other").status_code == 404
    ada.delete(f"/v1/jobs/{run}/files/notes.txt")
    assert "was deleted" in ada.get(f"/v1/jobs/{run}/files/notes.txt").json()["detail"]


def test_an_abandoned_upload_is_given_up(
    ada: TestClient, run: int, mine: str, artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = declare(ada, run, mine, b"x" * 1500).json()
    put(ada, run, mine, upload, 1, b"x" * 1024)
    monkeypatch.setattr(run_files, "ABANDONED_AFTER", run_files.ABANDONED_AFTER * 0)
    assert maintenance.clear_saved_files(settings.settings()) == 1
    assert stored(artifacts) == [".hsu-installation"]
    assert complete(ada, run, mine, upload).json()["code"] == "wrong_file_state"


def test_a_storage_that_is_away_is_an_outage(ada: TestClient, run: int, mine: str, artifacts: Path) -> None:
    upload = declare(ada, run, mine, b"abc").json()
    put(ada, run, mine, upload, 1, b"abc")
    artifacts.rename(artifacts.with_name("away"))
    assert complete(ada, run, mine, upload).status_code == 503
    assert put(ada, run, mine, declare(ada, run, mine, b"x", "b").json(), 1, b"x").status_code == 503
    artifacts.with_name("away").rename(artifacts)
    assert complete(ada, run, mine, upload).json()["state"] == "ready"
