"""Data sets that users bring: sent in parts, converted, used by specs, shared, deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import own_data
import pytest
from fastapi.testclient import TestClient
from own_data import convert, described, flowers, put, send, zipped
from samples import DIGITS

from hsu_core.data.own import manifest
from hsu_jobs import settings

OWN = {"dataset": {"kind": "own", "name": "flowers"}, "batch_size": 8}
FLOWERS = zipped(flowers())


@pytest.fixture(autouse=True)
def artifacts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where the files are; parts of 1 kB."""
    monkeypatch.setenv("HSU_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("HSU_PART_BYTES", "1024")
    settings.settings.cache_clear()
    return tmp_path / "artifacts"


@pytest.fixture
def marked(http: TestClient) -> None:
    """A worker has used the storage."""
    convert()


Fault = tuple[str, str]


def faults(answer: Any) -> list[Fault]:
    assert answer.status_code == 422, answer.text
    return [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]]


def test_an_upload_becomes_ready_with_its_facts(ada: TestClient, marked: None) -> None:
    sent = send(ada, FLOWERS, licence="CC BY 4.0")
    assert (sent["version"], sent["state"], sent["facts"], sent["bytes"]) == (1, "converting", None, len(FLOWERS))
    assert convert() == 1
    found = ada.get("/v1/datasets/flowers/versions/1").json()
    assert (found["state"], found["owner"], found["licence"], found["shared"]) == ("ready", "ada", "CC BY 4.0", False)
    facts = found["facts"]
    assert (facts["holds"], facts["shape"], facts["class_names"]) == ("images", [1, 8, 8], list(own_data.CLASSES))
    assert (facts["train_counts"], facts["test_counts"]) == ([8, 8, 8], [2, 2, 2])
    assert [each["version"] for each in ada.get("/v1/datasets").json()["datasets"]] == [1]


def test_the_content_is_stored_once_and_the_upload_is_removed(
    ada: TestClient, as_user: Callable[[str], TestClient], marked: None, artifacts: Path
) -> None:
    send(ada, FLOWERS)
    send(as_user("bob"), FLOWERS, name="other")
    assert convert() == 2
    (folder,) = (artifacts / "datasets").iterdir()
    assert manifest.read(folder, sha256=folder.name).content.holds == "images"
    assert list((artifacts / "uploads").iterdir()) == []


def test_a_job_records_the_version_the_hash_and_the_facts(ada: TestClient, marked: None) -> None:
    send(ada, FLOWERS)
    convert()
    quoted = ada.post("/v1/jobs?dry_run=true", json=DIGITS | OWN)
    assert quoted.json()["total_steps"] == 3, quoted.text
    job = ada.post("/v1/jobs", json=DIGITS | OWN)
    assert job.status_code == 201, job.text
    sha256 = ada.get("/v1/datasets/flowers/versions/1").json()["sha256"]
    complete = {"kind": "own", "name": "flowers", "owner": "ada", "version": 1, "sha256": sha256, "holds": "images"}
    sizes = {"shape": [1, 8, 8], "classes": 3, "train": 24, "test": 6}
    assert job.json()["spec"]["dataset"] == complete | sizes
    assert ada.post("/v1/jobs", json=job.json()["spec"]).status_code == 201
    assert ada.get("/v1/jobs?dataset=own").json()["jobs"][0]["id"] == 2


def test_without_a_version_the_newest_that_is_ready_is_meant(ada: TestClient, marked: None) -> None:
    send(ada, FLOWERS)
    send(ada, zipped(flowers(seed=1)))
    convert()
    send(ada, zipped(flowers(seed=2)))
    assert ada.post("/v1/jobs", json=DIGITS | OWN).json()["spec"]["dataset"]["version"] == 2
    older = OWN | {"dataset": {"kind": "own", "name": "flowers", "version": 1}}
    assert ada.post("/v1/jobs", json=DIGITS | older).json()["spec"]["dataset"]["version"] == 1
    third = OWN | {"dataset": {"kind": "own", "name": "flowers", "version": 3}}
    assert faults(ada.post("/v1/jobs", json=DIGITS | third)) == [("/dataset/version", "dataset_not_ready")]


def test_an_unknown_set_is_told_with_similar_names(
    ada: TestClient, as_user: Callable[[str], TestClient], marked: None
) -> None:
    send(ada, FLOWERS)
    convert()
    wrong = OWN | {"dataset": {"kind": "own", "name": "flower"}}
    answer = ada.post("/v1/jobs", json=DIGITS | wrong)
    assert faults(answer) == [("/dataset/name", "unknown_dataset")]
    assert "there is flowers" in answer.json()["detail"]
    answer = as_user("bob").post("/v1/jobs", json=DIGITS | OWN)
    assert faults(answer) == [("/dataset/name", "unknown_dataset")]
    assert "flowers'" in answer.json()["detail"]
    assert "there is flowers" not in answer.json()["detail"]
    many = {"jobs": [DIGITS, DIGITS | wrong]}
    assert faults(ada.post("/v1/jobs/bulk", json=many)) == [("/jobs/1/dataset/name", "unknown_dataset")]
    for body, pointer in (({"kind": "own"}, "/dataset/name"), ({"kind": "own", "name": "a b"}, "/dataset/name")):
        assert faults(ada.post("/v1/jobs", json=DIGITS | {"dataset": body}))[0][0] == pointer


def test_facts_that_are_not_those_of_the_set_are_refused(ada: TestClient, marked: None) -> None:
    send(ada, FLOWERS)
    convert()
    given = OWN["dataset"] | {"classes": 4, "train": 24}  # type: ignore[operator]
    assert faults(ada.post("/v1/jobs", json=DIGITS | OWN | {"dataset": given})) == [("/dataset/classes", "other_facts")]


def test_a_task_of_other_data_says_why_it_cannot_use_the_set(ada: TestClient, marked: None) -> None:
    send(ada, FLOWERS)
    convert()
    texts = {"task": "texts", "dataset": OWN["dataset"], "model": {"kind": "bag_of_ngrams"}}
    answer = ada.post("/v1/jobs", json={"duration": {"epochs": 1}, "regularizer": {"kind": "none"}} | texts)
    assert faults(answer) == [("/dataset/name", "other_data")]
    assert "needs a set of texts, and 'flowers' holds images" in answer.json()["detail"]
    nodes = {"task": "nodes", "dataset": OWN["dataset"], "model": {"kind": "gcn"}, "regularizer": {"kind": "none"}}
    assert faults(ada.post("/v1/jobs", json=nodes | {"duration": {"epochs": 1}})) == [("/dataset", "union_tag_invalid")]


def test_a_shared_set_is_for_everybody_and_changed_by_its_owner(
    ada: TestClient, as_user: Callable[[str], TestClient], root: TestClient, marked: None
) -> None:
    send(ada, FLOWERS, shared=True)
    convert()
    bob = as_user("bob")
    assert bob.get("/v1/datasets/flowers").json()["versions"][0]["owner"] == "ada"
    assert bob.post("/v1/jobs", json=DIGITS | OWN).json()["spec"]["dataset"]["owner"] == "ada"
    assert bob.delete("/v1/datasets/flowers/versions/1").status_code == 403
    send(as_user("eve"), zipped(flowers(seed=3)), shared=True)
    convert()
    answer = bob.get("/v1/datasets/flowers")
    assert answer.status_code == 400
    assert "ada, eve" in answer.json()["detail"]
    assert faults(bob.post("/v1/jobs", json=DIGITS | OWN)) == [("/dataset/owner", "unknown_dataset")]
    named = OWN | {"dataset": {"kind": "own", "name": "flowers", "owner": "eve"}}
    assert bob.post("/v1/jobs", json=DIGITS | named).status_code == 201
    assert root.get("/v1/datasets/flowers?owner=eve").status_code == 200


def test_an_upload_goes_on_where_it_was_cut_off(ada: TestClient, marked: None) -> None:
    begun = ada.post("/v1/datasets", json=described(FLOWERS))
    assert begun.status_code == 201
    place = begun.headers["Location"]
    second = FLOWERS[1024:2048]
    assert put(ada, place, 2, second).status_code == 204
    assert put(ada, place, 2, second).status_code == 204
    again = ada.post("/v1/datasets", json=described(FLOWERS))
    assert (again.status_code, [part["number"] for part in again.json()["arrived"]]) == (200, [2])
    assert again.json() == ada.get(place).json()
    early = ada.post(f"{place}/complete")
    assert (early.status_code, early.json()["code"]) == (409, "wrong_dataset_state")
    assert "have not arrived: 1, 3, 4" in early.json()["detail"]
    assert send(ada, FLOWERS)["version"] == 1
    assert convert() == 1
    assert ada.post("/v1/datasets", json=described(FLOWERS)).json()["state"] == "ready"
    assert put(ada, place, 2, second).status_code == 409


def test_a_part_that_is_not_as_declared_is_refused(ada: TestClient, marked: None) -> None:
    place = ada.post("/v1/datasets", json=described(FLOWERS)).headers["Location"]
    wrong = put(ada, place, 1, FLOWERS[:1024], sha256="0" * 64)
    assert (wrong.status_code, wrong.json()["errors"][0]["code"]) == (400, "wrong_checksum")
    assert put(ada, place, 1, FLOWERS[:1000]).json()["detail"] == "part 1 has 1,024 bytes, found 1,000"
    assert put(ada, place, 1, b"x" * 1025).status_code == 413
    assert put(ada, place, 10**6, FLOWERS[:1024]).status_code == 400
    as_json = ada.put(f"{place}/parts/1?sha256={'0' * 64}", json={})
    assert as_json.status_code == 415
    assert ada.get(place).json()["arrived"] == []


def test_all_parts_together_must_be_what_was_declared(ada: TestClient, marked: None) -> None:
    send(ada, FLOWERS, sha256="0" * 64)
    convert()
    found = ada.get("/v1/datasets/flowers/versions/1").json()
    assert found["state"] == "refused"
    assert "all parts together have the SHA-256" in found["reason"]


def test_what_is_refused_says_which_file_is_wrong(ada: TestClient, marked: None) -> None:
    cut = flowers()
    cut["rose/3.png"] = cut["rose/3.png"][:60]
    send(ada, zipped(cut))
    convert()
    found = ada.get("/v1/datasets/flowers/versions/1").json()
    assert found["state"] == "refused"
    assert found["reason"].startswith("rose/3.png: the image is damaged")
    assert faults(ada.post("/v1/jobs", json=DIGITS | OWN)) == [("/dataset/name", "dataset_not_ready")]


def test_a_set_is_deleted_when_no_job_needs_it(ada: TestClient, marked: None, artifacts: Path) -> None:
    send(ada, FLOWERS)
    convert()
    job = ada.post("/v1/jobs", json=DIGITS | OWN).json()["id"]
    refused = ada.delete("/v1/datasets/flowers/versions/1")
    assert (refused.status_code, refused.json()["code"]) == (409, "dataset_in_use")
    assert f": {job};" in refused.json()["detail"]
    ada.post(f"/v1/jobs/{job}/cancel")
    assert ada.delete("/v1/datasets/flowers/versions/1").status_code == 204
    convert()
    assert list((artifacts / "datasets").iterdir()) == []
    assert ada.get("/v1/datasets").json()["datasets"] == []
    assert ada.get("/v1/datasets/flowers/versions/1").json()["state"] == "deleted"
    assert ada.delete("/v1/datasets/flowers/versions/1").status_code == 410
    assert faults(ada.post("/v1/jobs", json=DIGITS | OWN)) == [("/dataset/name", "dataset_not_ready")]
    assert faults(ada.post(f"/v1/jobs/{job}/retry")) == [("/dataset/version", "dataset_not_ready")]
    assert send(ada, FLOWERS)["version"] == 2


def test_content_that_another_version_has_stays(
    ada: TestClient, as_user: Callable[[str], TestClient], marked: None, artifacts: Path
) -> None:
    bob = as_user("bob")
    for client in (ada, bob):
        send(client, FLOWERS)
    convert()
    assert ada.delete("/v1/datasets/flowers/versions/1").status_code == 204
    convert()
    assert len(list((artifacts / "datasets").iterdir())) == 1
    assert bob.delete("/v1/datasets/flowers/versions/1").status_code == 204
    convert()
    assert list((artifacts / "datasets").iterdir()) == []


def test_a_fork_may_take_another_set_of_the_same_sizes(
    ada: TestClient, start: Callable[[], Any], save: Callable[..., None], marked: None, artifacts: Path
) -> None:
    send(ada, FLOWERS)
    send(ada, zipped(flowers(seed=1)), name="roses")
    send(ada, zipped(flowers(20)), name="more")
    convert()
    job = ada.post("/v1/jobs", json=DIGITS | OWN).json()
    save(start(), 2)
    (artifacts / "1").mkdir()
    (artifacts / "1" / "2").touch()  # as `save` names it
    place = f"/v1/jobs/{job['id']}/fork"
    other = ada.post(place, json={"change": {"dataset": {"name": "roses"}}})
    assert other.status_code == 201, other.text
    found = other.json()["spec"]["dataset"]
    assert (found["name"], found["sha256"] == job["spec"]["dataset"]["sha256"]) == ("roses", False)
    same = ada.post(place, json={"change": {"dataset": {"version": 1}}})
    assert same.json()["spec"]["dataset"] == job["spec"]["dataset"]
    more = ada.post(place, json={"change": {"dataset": {"name": "more"}}})
    assert faults(more) == [("/change/dataset", "does_not_fit_checkpoint")]
    unknown = ada.post(place, json={"change": {"dataset": {"name": "lilies"}}})
    assert faults(unknown) == [("/change/dataset/name", "unknown_dataset")]


def test_a_user_has_so_many_bytes(ada: TestClient, marked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSU_DATASET_BYTES", str(len(FLOWERS) + 500))
    settings.settings.cache_clear()
    send(ada, FLOWERS)
    second = ada.post("/v1/datasets", json=described(FLOWERS, name="more"))
    assert (second.status_code, second.json()["code"]) == (409, "quota_exceeded")
    convert()
    assert ada.get("/v1/datasets/flowers/versions/1").json()["state"] == "ready"


def test_a_set_that_would_be_too_large_when_converted_is_refused(
    ada: TestClient, marked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSU_DATASET_BYTES", str(len(FLOWERS)))
    settings.settings.cache_clear()
    send(ada, FLOWERS, options={"size": 64})
    convert()
    assert "may have" in ada.get("/v1/datasets/flowers/versions/1").json()["reason"]


def test_a_new_upload_is_checked(ada: TestClient) -> None:
    for change, pointer in (
        ({"name": "../x"}, "/name"),
        ({"bytes": 0}, "/bytes"),
        ({"bytes": 2**40}, "/bytes"),
        ({"test_bytes": len(FLOWERS)}, "/test_bytes"),
        ({"sha256": "x"}, "/sha256"),
        ({"source": "pickle"}, "/source"),
        ({"options": {"size": 10**6}}, "/options/size"),
        ({"options": {"test_fraction": 1}}, "/options/test_fraction"),
    ):
        assert faults(ada.post("/v1/datasets", json=described(FLOWERS) | change))[0][0] == pointer


def test_parts_wait_while_the_storage_is_away(ada: TestClient) -> None:
    place = ada.post("/v1/datasets", json=described(FLOWERS)).headers["Location"]
    answer = put(ada, place, 1, FLOWERS[:1024])
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


def test_the_note_and_the_sharing_of_a_version_can_be_changed(
    ada: TestClient, as_user: Callable[[str], TestClient], marked: None
) -> None:
    send(ada, FLOWERS)
    convert()
    bob, path = as_user("bob"), "/v1/datasets/flowers/versions/1"
    assert bob.patch(path, json={"shared": True}).status_code == 404
    changed = ada.patch(path, json={"shared": True}).json()
    assert (changed["shared"], changed["licence"], changed["state"]) == (True, "", "ready")
    assert bob.patch(f"{path}?owner=ada", json={"shared": False}).status_code == 403
    job = bob.post("/v1/jobs", json=DIGITS | OWN)
    assert job.status_code == 201, job.text
    changed = ada.patch(path, json={"licence": "CC BY 4.0", "shared": False}).json()
    assert (changed["shared"], changed["licence"]) == (False, "CC BY 4.0")
    assert bob.get(path).status_code == 404
    assert bob.get(f"/v1/jobs/{job.json()['id']}").json()["state"] == "queued"
    assert ada.patch(path, json={"name": "x"}).status_code == 422
    bob.post(f"/v1/jobs/{job.json()['id']}/cancel")
    ada.delete(path)
    assert ada.patch(path, json={"licence": "x"}).status_code == 410
