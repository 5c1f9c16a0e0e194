"""What is refused before it is queued, because it could not run here, or not for this key."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS

from hsu_core import spec
from hsu_core.spec import plugins
from hsu_jobs import database, settings
from hsu_jobs.cluster import workers
from hsu_jobs.spec import parse


@pytest.fixture
def machines(http: TestClient) -> None:
    """A pool with machines of 1 and 2 GPUs, and another with one of 4."""
    with database.transaction() as session:
        workers.register(session, "a", pool="default", devices=["cuda:0"], slots=1)
        workers.register(session, "b", pool="default", devices=["cuda:0", "cuda:1"], slots=4)
        workers.register(session, "c", pool="large", devices=[f"cuda:{n}" for n in range(4)], slots=4)


def fault(client: TestClient, status: int, **change: Any) -> dict[str, str]:
    """The one fault of a spec that is refused."""
    answer = client.post("/v1/jobs", json=DIGITS | change)
    assert answer.status_code == status, answer.text
    assert client.get("/v1/jobs").json()["jobs"] == []
    (found,) = answer.json()["errors"]
    return found


def test_more_gpus_than_any_machine_of_the_pool_has_are_refused_with_what_there_is(
    ada: TestClient, machines: None
) -> None:
    assert fault(ada, 422, resources={"gpus": 4}, batch_size=64) == {
        "pointer": "/resources/gpus",
        "code": "no_such_machine",
        "detail": "no machine of pool 'default' has 4 GPUs; the largest has 2",
    }
    answer = ada.post("/v1/jobs", json=DIGITS | {"resources": {"gpus": 4, "pool": "large"}, "batch_size": 64})
    assert answer.status_code == 201


def test_a_pool_that_no_worker_belongs_to_is_refused_with_those_that_there_are(ada: TestClient, machines: None) -> None:
    assert fault(ada, 422, resources={"pool": "lagre"}) == {
        "pointer": "/resources/pool",
        "code": "unknown_pool",
        "detail": "there is no pool 'lagre'; there are: default, large",
    }


def test_a_layer_that_the_network_lacks_or_leaves_out_is_refused_with_those_that_there_are(ada: TestClient) -> None:
    layers = ", ".join(layer.name for layer in parse(DIGITS).geometry.layers)
    assert fault(ada, 422, record={"layers": ["*", "conv7"]}) == {
        "pointer": "/record/layers/1",
        "code": "no_such_layer",
        "detail": f"'conv7' matches no layer whose neurons are read; there are {layers}",
    }
    found = fault(ada, 422, regularizer={"kind": "mhe", "layers": ["bn*"]})
    assert (found["pointer"], found["code"]) == ("/regularizer/layers/0", "no_such_layer")
    narrow = {"kind": "mlp", "hidden": [1, 8]}
    found = fault(ada, 422, model=narrow, regularizer={"kind": "mhs", "layers": ["hidden1"]})
    assert found["pointer"] == "/regularizer"
    assert "hidden1 has a single neuron" in found["detail"]


def test_before_the_first_worker_came_everything_is_believed(ada: TestClient) -> None:
    asked = DIGITS | {"resources": {"gpus": 8, "pool": "later"}, "batch_size": 64}
    made = ada.post("/v1/jobs", json=asked).json()
    job = ada.get(f"/v1/jobs/{made['id']}").json()
    assert (job["gpus"], job["pool"], job["waiting"]["reason"]) == (8, "later", "no_worker")


def test_a_priority_above_that_of_members_is_for_admins(
    ada: TestClient, root: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fault(ada, 403, priority=1)
    assert (found["pointer"], found["code"]) == ("/priority", "priority_too_high")
    assert "0 at most, found 1" in found["detail"]
    assert root.post("/v1/jobs", json=DIGITS | {"priority": 100}).json()["priority"] == 100
    monkeypatch.setenv("HSU_MEMBER_PRIORITY", "5")
    settings.settings.cache_clear()
    assert ada.post("/v1/jobs", json=DIGITS | {"priority": 5}).status_code == 201


def test_more_gpus_than_the_owners_quota_are_refused(ada: TestClient, root: TestClient) -> None:
    assert root.patch("/v1/users/ada", json={"max_gpus": 1}).status_code == 200
    found = fault(ada, 403, resources={"gpus": 2}, batch_size=64)
    assert (found["pointer"], found["code"]) == ("/resources/gpus", "over_quota")
    assert ada.post("/v1/jobs", json=DIGITS).status_code == 201


def test_the_workers_say_which_data_sets_can_be_read_and_not_the_host_of_the_api(
    ada: TestClient, machines: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("HSU_DATA_DIR", str(tmp_path))
    settings.settings.cache_clear()
    with database.transaction() as session:
        workers.note_readiness(session, "a", datasets=["digits", "mnist"], lacks=[])
        workers.note_readiness(session, "b", datasets=["digits"], lacks=[])
    asked = {"dataset": {"kind": "cifar10"}, "model": {"kind": "mlp"}}
    assert fault(ada, 422, **asked) == {
        "pointer": "/dataset",
        "code": "dataset_not_found",
        "detail": "no worker of pool 'default' can read cifar10; they have: digits, mnist. Place its files in the data "
        "folder of one (HSU_DATA_DIR), or let it fetch them (HSU_ALLOW_DOWNLOAD=true)",
    }
    available = {each["kind"]: each["available"] for each in ada.get("/v1/catalog").json()["datasets"]}
    assert (available["mnist"], available["cifar10"]) == (True, False)
    made = ada.post("/v1/jobs", json=DIGITS | {"dataset": {"kind": "mnist"}})
    assert made.status_code == 201, made.text


def test_a_job_whose_data_set_a_plug_in_brings_waits_for_a_worker_that_has_it(
    ada: TestClient, machines: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought = plugins.Plugin(plugins.DATASETS, "cifar10", spec.CIFAR10, "lab-data", "1.0")
    monkeypatch.setitem(plugins._installed, (plugins.DATASETS, "cifar10"), brought)
    with database.transaction() as session:
        for name in ("a", "b"):
            workers.note_readiness(session, name, datasets=["digits"], lacks=[])
    made = ada.post("/v1/jobs", json=DIGITS | {"dataset": {"kind": "cifar10"}, "model": {"kind": "mlp"}})
    assert made.status_code == 201, made.text
    seen = ada.get(f"/v1/jobs/{made.json()['id']}").json()
    assert seen["waiting"]["reason"] == "no_worker_with_plugins"
    assert "has the plug-ins lab-data; they have: none" in seen["waiting"]["detail"]


def in_the_place_of_the_folder(data: Path) -> None:
    data.write_text("a file")


def a_ring_of_links(data: Path) -> None:
    data.symlink_to(data)


def a_name_that_is_too_long(data: Path) -> None:
    data.mkdir()
    os.environ["HSU_DATA_DIR"] = str(data / ("x" * 300))  # undone with the variable that the test has set


@pytest.mark.parametrize("happens", [in_the_place_of_the_folder, a_ring_of_links, a_name_that_is_too_long])
def test_a_data_folder_that_cannot_be_read_is_a_missing_data_set_and_no_error_of_ours(
    ada: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, happens: Callable[[Path], None]
) -> None:
    monkeypatch.setenv("HSU_DATA_DIR", str(tmp_path / "data"))
    happens(tmp_path / "data")
    settings.settings.cache_clear()
    found = fault(ada, 422, dataset={"kind": "mnist"})
    assert found["code"] == "dataset_not_found"
    assert "cannot be reached" in found["detail"]
    assert ada.get("/v1/catalog").status_code == 200


def test_a_data_folder_that_this_user_may_not_look_into_is_a_missing_data_set(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    script = (
        "import os, sys; from pathlib import Path; from hsu_core import spec; from hsu_core.data import files\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "else: os.chmod(sys.argv[1], 0)\n"
        "try: files.require(spec.MNIST(), Path(sys.argv[1]))\n"
        "except files.DatasetNotFound as error: print(error)\n"
    )
    tmp_path.chmod(0o755)
    said = subprocess.run([sys.executable, "-c", script, str(closed)], capture_output=True, text=True, check=True)
    assert "cannot be reached: Permission denied" in said.stdout


def test_every_fault_is_told_at_once(
    ada: TestClient, machines: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("HSU_DATA_DIR", str(tmp_path))
    settings.settings.cache_clear()
    asked = DIGITS | {"resources": {"pool": "none"}, "dataset": {"kind": "mnist"}}
    answer = ada.post("/v1/jobs", json=asked)
    assert [found["pointer"] for found in answer.json()["errors"]] == ["/resources/pool", "/dataset"]
