"""What may be submitted."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError
from samples import DIGITS, POINTS

from hsu_core.spec import ClassificationSpec, PointsSpec
from hsu_jobs.spec import TASKS, ClassificationJob, Envelope, JobSpec, PointsJob, parse

both = pytest.mark.parametrize("asked", [DIGITS, POINTS], ids=["training", "points"])


@both
def test_the_fingerprint_says_what_is_asked_for_not_how_it_is_called(asked: dict[str, Any]) -> None:
    spec = parse(asked)
    named = parse(asked | {"name": "other", "tags": ["x"], "limits": {"max_attempts": 1}})
    assert named.fingerprint == spec.fingerprint
    assert parse(asked | {"seed": 1}).fingerprint != spec.fingerprint


def test_of_an_own_data_set_counts_the_content_and_not_the_name() -> None:
    own = {"kind": "own", "name": "flowers", "owner": "ada", "version": 3, "sha256": "ab" * 32, "holds": "images"}
    own |= {"shape": [1, 8, 8], "classes": 10, "train": 1437, "test": 360}
    named = parse(DIGITS | {"dataset": own})
    assert named.fingerprint == parse(DIGITS | {"dataset": own | {"name": "roses", "version": 1}}).fingerprint
    assert named.fingerprint != parse(DIGITS | {"dataset": own | {"sha256": "cd" * 32}}).fingerprint
    assert parse(named.model_dump(mode="json")) == named


@both
def test_a_spec_survives_its_own_dump(asked: dict[str, Any]) -> None:
    spec = parse(asked)
    assert parse(spec.model_dump(mode="json")) == spec == parse(spec)


def test_a_spec_without_a_task_is_about_classification() -> None:
    assert isinstance(parse(DIGITS), ClassificationJob)
    assert parse(DIGITS | {"task": "classification"}) == parse(DIGITS)
    assert isinstance(parse(POINTS), PointsJob)


def test_the_tasks_are_those_of_the_union() -> None:
    members = get_args(get_args(JobSpec)[0])
    assert tuple(get_args(member.model_fields["task"].annotation)[0] for member in members) == TASKS


def test_the_envelope_holds_just_what_is_no_part_of_the_work() -> None:
    assert set(ClassificationJob.model_fields) == set(ClassificationSpec.model_fields) | set(Envelope.model_fields)
    assert set(PointsJob.model_fields) == set(PointsSpec.model_fields) | set(Envelope.model_fields)


@both
@pytest.mark.parametrize("change", [{"tags": ["no spaces"]}, {"name": " "}, {"limits": {"max_attempts": 0}}, {"x": 1}])
def test_a_bad_field_is_an_error_with_its_path(asked: dict[str, Any], change: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        parse(asked | change)
    assert caught.value.errors()[0]["loc"][:2] == (asked.get("task", "classification"), next(iter(change)))


@pytest.mark.parametrize("task", ["regression", None, ["points"]])
def test_an_unknown_task_is_told_which_there_are(task: object) -> None:
    with pytest.raises(ValidationError) as caught:
        parse(DIGITS | {"task": task})
    (error,) = caught.value.errors()
    assert error["loc"] == ("task",)
    assert "here; there are classification, nodes, texts, recommendation, points" in error["msg"]
