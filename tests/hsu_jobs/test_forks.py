"""The spec of a job that goes on from another's checkpoint: a merge patch that knows kinds."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from samples import DIGITS, POINTS

from hsu_jobs.errors import SpecRejected
from hsu_jobs.forks import changed, merged
from hsu_jobs.spec import ClassificationJob, parse

PARENT = parse(DIGITS).model_dump(mode="json")


@pytest.mark.parametrize(
    ("old", "change", "new"),
    [  # RFC 7396, appendix A, but for the arrays of objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_change_is_a_json_merge_patch(old: object, change: object, new: object) -> None:
    assert merged(old, change) == new


def test_an_object_of_another_kind_replaces_the_old_one_whole() -> None:
    old = {"regularizer": {"kind": "mhe", "s": 1, "half_space": False}}
    assert merged(old, {"regularizer": {"kind": "mhs"}}) == {"regularizer": {"kind": "mhs"}}
    assert merged(old, {"regularizer": {"kind": "mhe", "s": 0}})["regularizer"]["half_space"] is False


def test_nothing_changed_is_the_parents_spec() -> None:
    assert changed(PARENT, {}, from_step=10) == parse(DIGITS)


def test_a_field_that_is_taken_away_is_back_at_its_default() -> None:
    assert changed(PARENT, {"optimizer": None}) == parse({key: DIGITS[key] for key in DIGITS if key != "optimizer"})


@pytest.mark.parametrize(
    "change",
    [
        {"regularizer": {"kind": "mhp"}},
        {"optimizer": {"lr": 0.01}, "schedule": {"kind": "constant"}},
        {"name": "other", "priority": 3, "tags": ["a"], "limits": {"deadline": 60}},
        {"duration": {"epochs": 5}},
        {"seed": 7, "evaluate": {"every": 5}},
    ],
)
def test_what_the_saved_state_does_not_depend_on_may_change(change: dict[str, Any]) -> None:
    after = changed(PARENT, change, from_step=10)
    assert isinstance(after, ClassificationJob)
    assert after != parse(DIGITS)
    assert after.model == parse(DIGITS).model


@pytest.mark.parametrize(
    ("change", "pointer", "detail"),
    [
        ({"model": {"hidden": [64]}}, "/model", "the model must stay as it is"),
        ({"optimizer": {"kind": "adamw"}}, "/optimizer/kind", "the optimizer must stay sgd"),
        ({"dataset": {"kind": "mnist"}}, "/dataset", "the data must be of the same sizes as the parent's"),
        (
            {"duration": {"epochs": None, "steps": 9}},
            "/duration",
            "expected at least the checkpoint's 10 steps, found 9",
        ),
    ],
)
def test_what_does_not_fit_the_saved_state_is_refused_with_its_place(
    change: dict[str, Any], pointer: str, detail: str
) -> None:
    with pytest.raises(SpecRejected) as refused:
        changed(PARENT, change, from_step=10)
    (fault,) = refused.value.faults
    assert (fault.pointer, fault.code) == (pointer, "does_not_fit_checkpoint")
    assert detail in fault.detail


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(SpecRejected) as refused:
        changed(PARENT, {"model": {"kind": "small_cnn"}, "optimizer": {"kind": "adamw"}}, from_step=10)
    assert [fault.pointer for fault in refused.value.faults] == ["/model", "/optimizer/kind"]


def test_another_task_cannot_go_on_from_a_networks_checkpoint() -> None:
    away = {key: None for key in PARENT if key not in POINTS}
    with pytest.raises(SpecRejected) as refused:
        changed(PARENT, away | POINTS, from_step=10)
    assert [fault.pointer for fault in refused.value.faults] == ["/task"]


def test_from_the_start_anything_may_change() -> None:
    after = changed(PARENT, {"model": {"kind": "small_cnn"}, "optimizer": {"kind": "adamw"}})
    assert isinstance(after, ClassificationJob)
    assert after.model.kind == "small_cnn"


def test_a_change_that_makes_no_spec_is_an_error_with_its_path() -> None:
    with pytest.raises(ValidationError, match=r"regularizer\.mhe\.z"):
        changed(PARENT, {"regularizer": {"z": 1}}, from_step=10)
