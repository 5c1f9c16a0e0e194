"""A spec that any version stored can be read, and one of a newer version is told from the others."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from samples import DIGITS, POINTS
from sqlalchemy.orm import Session

from hsu_core import spec as core
from hsu_core.spec import versions
from hsu_jobs import lifecycle
from hsu_jobs.errors import SpecNotReadable, SpecRejected
from hsu_jobs.forks import changed, patched
from hsu_jobs.spec import Limits, limits_of, parse, read
from hsu_jobs.states import State
from hsu_jobs.tables import User

STORED = Path(__file__).parent / "stored_specs"
SAMPLES = {f"{path.parent.name}/{path.stem}": json.loads(path.read_text()) for path in sorted(STORED.glob("v*/*.json"))}
OF_VERSION_1 = {name: row["spec"] for name, row in SAMPLES.items() if name.startswith("v1/")}
SQL_READS = [("dataset", "kind"), ("model", "kind"), ("regularizer", "kind")]
"""Where the database itself reads stored specs: for the queue's index and the filters of lists."""


def at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


# --- the table of upgrades --------------------------------------------------------------------------------------------


def test_each_version_below_the_present_one_has_one_step() -> None:
    assert sorted(versions.UPGRADES) == list(range(1, versions.PRESENT))


@pytest.mark.parametrize("version", range(1, versions.PRESENT + 1))
def test_each_version_has_samples_of_every_kind_and_task(version: int) -> None:
    specs = [row["spec"] for name, row in SAMPLES.items() if name.startswith(f"v{version}/")]
    read_specs = [read(spec) for spec in specs]
    assert {spec.task for spec in read_specs} == {"classification", "points"}
    assert any(spec.resources.gpus > 1 for spec in read_specs)
    if version == versions.PRESENT:
        assert set(core.kinds(core.Regularizer)) <= {at(spec, ("regularizer", "kind")) for spec in specs}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_of_any_version_is_read_and_stays_as_it_is(name: str) -> None:
    stored = SAMPLES[name]["spec"]
    before = copy.deepcopy(stored)
    spec = read(stored)
    assert stored == before
    assert spec.version == versions.PRESENT
    assert spec == parse(spec.model_dump(mode="json"))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_has_the_fingerprint_with_which_it_was_stored(name: str) -> None:
    assert read(SAMPLES[name]["spec"]).fingerprint == SAMPLES[name]["fingerprint"]


@pytest.mark.parametrize("name", SAMPLES)
def test_what_the_database_reads_of_a_sample_is_where_this_version_looks(name: str) -> None:
    stored = SAMPLES[name]["spec"]
    upgraded = versions.upgraded(stored)
    assert [at(stored, path) for path in SQL_READS] == [at(upgraded, path) for path in SQL_READS]


@pytest.mark.parametrize("name", OF_VERSION_1)
def test_version_1_without_and_with_its_number_is_what_is_stored_now(name: str) -> None:
    stored = OF_VERSION_1[name]
    assert versions.UNMARKED == 1
    assert read(stored) == read(stored | {"version": 1})
    if versions.PRESENT == 1:
        assert read(stored).model_dump(mode="json") == stored | {"version": 1}


# --- an invented version ----------------------------------------------------------------------------------------------


@pytest.fixture
def version_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if version 2 had been made today: `seed` was `random_seed` in version 1, and limits had no `stall`."""

    def step(tree: dict[str, Any]) -> dict[str, Any]:
        tree["seed"] = tree.pop("random_seed")
        tree["limits"]["stall"] = 60
        return tree

    monkeypatch.setattr(versions, "PRESENT", 2)
    monkeypatch.setattr(versions, "UPGRADES", {1: step})


def of_old(spec: dict[str, Any]) -> dict[str, Any]:
    renamed = copy.deepcopy(spec)
    renamed["random_seed"] = renamed.pop("seed")
    return renamed


@pytest.mark.parametrize("marked", [{}, {"version": 1}], ids=["unmarked", "marked"])
@pytest.mark.parametrize("name", OF_VERSION_1)
def test_an_older_sample_is_upgraded(version_2: None, name: str, marked: dict[str, int]) -> None:
    stored = of_old(OF_VERSION_1[name]) | marked
    before = copy.deepcopy(stored)
    spec = read(stored)
    assert (spec.version, spec.seed, spec.limits.stall) == (2, OF_VERSION_1[name]["seed"], 60)
    assert stored == before
    assert read(spec.model_dump(mode="json")) == spec
    assert limits_of(stored) == spec.limits


def test_a_client_may_send_an_older_spec_and_without_a_number_it_is_of_the_present(version_2: None) -> None:
    old = of_old(parse(DIGITS | {"seed": 3}).model_dump(mode="json"))
    assert parse(old | {"version": 1}).seed == 3
    with pytest.raises(ValidationError, match="random_seed"):
        parse({name: value for name, value in old.items() if name != "version"})


def test_a_change_of_an_older_parent_names_the_fields_that_are_shown(version_2: None) -> None:
    parent = of_old(parse(DIGITS | {"seed": 3}).model_dump(mode="json")) | {"version": 1}
    assert changed(parent, {}).seed == 3
    assert changed(parent, {"seed": 4}).seed == 4
    assert changed(parent, {"version": 2, "seed": 4}).seed == 4
    assert changed(parent, {"version": None}).version == 2
    with pytest.raises(ValidationError, match="random_seed"):
        changed(parent, {"random_seed": 4})
    with pytest.raises(SpecRejected) as caught:
        patched(parent, {"version": 1, "random_seed": 4})
    assert caught.value.faults[0].pointer == "/version"


@pytest.mark.parametrize("spec", [{"version": 1}, {"version": 1, "random_seed": 1, "limits": None}])
def test_an_older_spec_that_its_step_cannot_take_is_an_error_and_no_surprise(
    version_2: None, spec: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError, match="does not have the shape of spec version 1"):
        parse(spec)
    with pytest.raises(SpecNotReadable, match="does not have the shape of spec version 1"):
        read(spec)
    assert limits_of(spec) == Limits()


def test_a_retry_of_an_older_job_is_stored_in_the_present_shape_and_the_old_row_stays(
    session: Session, owner: User, version_2: None
) -> None:
    old = of_old(parse(DIGITS).model_dump(mode="json")) | {"version": 1}
    job = lifecycle.submit(session, read(old), owner=owner)
    job.spec, job.state = old, State.CANCELLED
    session.flush()
    again = lifecycle.retry(session, job.id, owner=owner)
    assert (again.spec["version"], again.fingerprint) == (2, job.fingerprint)
    assert job.spec == old


# --- a version that is not known --------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [DIGITS, POINTS])
def test_a_number_changes_neither_the_spec_nor_its_fingerprint(asked: dict[str, Any]) -> None:
    assert parse(asked | {"version": 1}) == parse(asked) == parse(asked | {"version": 1.0})
    assert parse(asked | {"version": 1}).fingerprint == parse(asked).fingerprint


@pytest.mark.parametrize(
    "version", [versions.PRESENT + 1, 10**30, 0, -1, 1.5, True, "1", None, [1], float("nan"), float("inf")]
)
def test_an_unknown_version_is_refused_with_those_that_are_known(version: object) -> None:
    with pytest.raises(ValidationError) as caught:
        parse(DIGITS | {"version": version})
    (error,) = caught.value.errors()
    assert (error["loc"], error["type"]) == (("version",), "unknown_version")
    assert f"1 to {versions.PRESENT}" in error["msg"]


def test_a_newer_stored_spec_tells_which_version_wrote_it_and_which_are_read() -> None:
    newer = parse(DIGITS).model_dump(mode="json") | {"version": 7, "limits": {"max_attempts": 2}}
    with pytest.raises(SpecNotReadable, match=r"written by spec version 7; this service reads the versions 1 to \d"):
        read(newer)
    assert limits_of(newer) == Limits(max_attempts=2)
