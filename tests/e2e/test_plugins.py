"""A plug-in in a fresh environment: on the menus, in a job, in its curves; and what is left when it is gone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import fresh_environment
import httpx2
import pytest
from fresh_environment import EXAMPLE, Environment

from hsu_client.client import Client
from hsu_client.problem import Problem

New = Callable[[], AbstractContextManager[str]]
JOB = json.loads((EXAMPLE / "job.json").read_text())
STUDY: dict[str, Any] = {
    "base": {name: value for name, value in JOB.items() if name not in ("name", "regularizer")},
    "arms": {"frame": {"regularizer": JOB["regularizer"]}, "mhe": {"regularizer": {"kind": "mhe"}}},
    "seeds": 2,
    "metrics": ["test_accuracy", "hsu_example_frame_potential@conv"],
}
"""The plug-in's regularizer beside a built-in one, in its own measure."""
HOW_TO = Path(__file__).parents[2] / "docs/plugins.md"
PLUGIN = {"distribution": "hsu-example", "version": "0.1.0"}


@pytest.fixture
def servers(new_redis: New, new_database: New) -> Iterator[dict[str, str]]:
    with new_database() as database_url, new_redis() as redis_url:
        yield {"HSU_DATABASE_URL": database_url, "HSU_REDIS_URL": redis_url}


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return fresh_environment.made(tmp_path / "environment")


def entry(catalog: dict[str, Any], menu: str, kind: str) -> Any:
    return next(each for each in catalog[menu] if each["kind"] == kind)


def ended(client: Client, spec: dict[str, Any]) -> dict[str, Any]:
    job_id = client.submit(spec)["id"]
    while (job := client.job(job_id, wait=30))["finished_at"] is None:
        pass
    return job


def last_values(client: Client, job: dict[str, Any]) -> dict[str | None, float]:
    """The example's measure of each layer at the end."""
    found = client.curves(job["id"], measures=["hsu_example_frame_potential"])
    return {curve.layer: curve.values[-1] for curve in found}


@pytest.mark.slow
def test_the_example_is_used_as_what_is_built_in_and_its_jobs_outlive_it(
    environment: Environment, servers: dict[str, str], tmp_path: Path
) -> None:
    environment.run("pip", "install", fresh_environment.example(tmp_path / "example"))
    with environment.service(**servers) as told, Client(told["url"], told["key"]) as client:
        catalog = client.catalog()
        assert entry(catalog, "models", "hsu_example_net")["plugin"] == PLUGIN
        assert entry(catalog, "models", "mlp")["plugin"] is None
        assert entry(catalog, "regularizers", "hsu_example_frame")["source"].startswith("Benedetto and Fickus")
        assert not entry(catalog, "plugin_measures", "hsu_example_frame_potential")["higher_is_better"]
        assert "hsu_example_frame_potential" in catalog["measures"]
        assert catalog["broken_plugins"] == []
        schemas = httpx2.get(f"{told['url']}/openapi.json", timeout=300).json()["components"]["schemas"]
        assert schemas["HsuExampleNet"]["properties"]["kind"]["const"] == "hsu_example_net"

        assert client.quote(JOB)["costs"]["parameters"] == 9 * 16 + 64 * 10 + 10
        done = ended(client, JOB)
        assert done["state"] == "succeeded", done["failure"]
        assert done["result"]["plugins"] == {"hsu-example": "0.1.0"}
        assert [worker["plugins"] for worker in client.workers()] == [{"hsu-example": "0.1.0"}]
        without = ended(client, JOB | {"regularizer": {"kind": "none"}})
        curves, free = (last_values(client, job) for job in (done, without))
        assert set(curves) == {"conv", "classifier"}
        assert all(curves[layer] < free[layer] for layer in curves)
        study = client.studies.submit(STUDY)["id"]
        *_, over = client.studies.follow(study, poll=0.2)
        assert over["runs"] == {"succeeded": 6}
        table = client.studies.table(study)
        potential = table["metrics"][1]
        assert potential["higher_is_better"] is False
        assert [cell["label"] for cell in potential["cells"]] == ["baseline", "frame", "mhe"]
        assert potential["cells"][1]["mean"] < potential["cells"][0]["mean"]
        with pytest.raises(Problem, match="did you mean hsu_example_net"):
            client.submit(JOB | {"model": {"kind": "hsu_exampel_net"}})
        paused = client.pause(client.submit(JOB | {"duration": {"epochs": 5000}})["id"])["id"]

    environment.run("pip", "uninstall", "--yes", "hsu-example")
    with environment.service(**servers) as told, Client(told["url"], told["key"]) as client:
        seen = {job["id"] for job in client.jobs()}
        assert seen == {paused, without["id"], done["id"], *(run["job"] for run in table["runs"])}
        assert client.studies.table(study)["runs"] == table["runs"]
        gone = client.job(done["id"])
        assert "the plug-in hsu-example is not installed here" in gone["spec_error"]
        assert gone["result"] == done["result"]
        assert gone["spec"]["model"] == JOB["model"]
        assert last_values(client, done) == curves
        waiting = client.resume(paused)
        assert waiting["waiting"]["reason"] == "spec_not_readable"
        assert "hsu-example" in waiting["waiting"]["detail"]
        assert client.cancel(paused)["state"] == "cancelled"
        with pytest.raises(Problem, match=r"A plug-in can bring it \(docs/plugins.md\)"):
            client.submit(JOB)


@pytest.mark.slow
def test_every_command_of_the_how_to_works_in_its_order(
    environment: Environment, servers: dict[str, str], tmp_path: Path
) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", HOW_TO.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    folder = str(tmp_path)
    for block in blocks:
        needs_service = "hsu " in block and "hsu plugin" not in block
        with environment.service(**servers) if needs_service else nullcontext({"url": "", "key": ""}) as told:
            script = f"set -eu -o pipefail\ncd {folder}\n{block}\npwd"
            said = environment.run("bash", "-c", script, HSU_URL=told["url"], HSU_API_KEY=told["key"])
            *_, folder = said.split()
    assert "the plug-in lab-networks is not installed here" in said
