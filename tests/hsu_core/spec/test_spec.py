"""A spec says no to what cannot be trained, with a path to the field."""

from typing import Any

import pytest
from pydantic import ValidationError

from hsu_core import spec

MINIMAL: dict[str, Any] = {
    "dataset": {"kind": "digits"},
    "model": {"kind": "mlp"},
    "regularizer": {"kind": "mhe"},
    "duration": {"epochs": 2},
}


def parse(**changes: Any) -> spec.ClassificationSpec:
    return spec.ClassificationSpec.model_validate(MINIMAL | changes)


def test_a_spec_survives_json() -> None:
    training = parse(optimizer={"kind": "adamw"}, schedule={"kind": "step"}, record={"measures": ["min_angle"]})
    assert spec.ClassificationSpec.model_validate_json(training.model_dump_json()) == training


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"leraning_rate": 1}, ("leraning_rate",), "Extra inputs are not permitted"),
        ({"regularizer": {"kind": "mhx"}}, ("regularizer",), "does not match any of the expected tags"),
        ({"optimizer": {"kind": "sgd", "lr": -1}}, ("optimizer", "sgd", "lr"), "greater than 0"),
        ({"optimizer": {"kind": "sgd", "momentum": 0, "nesterov": True}}, ("optimizer", "sgd", "momentum"), "above 0"),
        ({"batch_size": 1438}, ("batch_size",), "digits has 1437 training images, found a batch of 1438"),
        ({"model": {"kind": "cnn9"}}, ("model",), "cnn9 takes images of 32×32 pixels, these have 8×8"),
        (
            {"dataset": {"kind": "cifar10"}, "model": {"kind": "small_cnn"}},
            ("model",),
            "small_cnn takes images of 8×8 to 28×28 pixels, these have 32×32",
        ),
        ({"regularizer": {"kind": "koleo"}, "batch_size": 1}, ("batch_size",), "needs at least 2, found a batch of 1"),
        ({"duration": {}}, ("duration", "epochs"), "either epochs or steps"),
        ({"duration": {"epochs": 1, "steps": 1}}, ("duration", "epochs"), "either epochs or steps"),
        ({"schedule": {"kind": "step", "milestones": [0.5, 0.2]}}, ("schedule", "step", "milestones"), "must ascend"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_a_path(
    changes: dict[str, Any], path: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        parse(**changes)
    (error,) = caught.value.errors()
    assert error["loc"] == path
    assert message in error["msg"]


def test_steps_follow_from_epochs_in_whole_batches() -> None:
    assert parse(batch_size=100).total_steps == 2 * 14
    assert parse(batch_size=100, duration={"steps": 5}).total_steps == 5


def points(**changes: Any) -> spec.PointsSpec:
    return spec.PointsSpec.model_validate({"task": "points", "n": 8, "d": 3, "objective": {"kind": "riesz"}} | changes)


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"n": 0}, ("n",), "greater than or equal to 1"),
        ({"d": 1}, ("d",), "greater than or equal to 2"),
        ({"n": 2001, "d": 2}, ("n",), "less than or equal to 2000"),
        ({"n": 1001, "half_space": True}, ("n",), "n may be 1000 at most in half space, found 1001"),
        ({"n": 1000, "d": 41}, ("n",), "n·d may be 40000 at most, found 1000·41 = 41000"),
        ({"n": 1}, ("n",), "riesz is about pairs of points"),
        ({"n": 1, "objective": {"kind": "separation"}}, ("n",), "in half space 1 would do"),
        ({"starts": 0}, ("starts",), "greater than or equal to 1"),
        ({"objective": {"kind": "thomson"}}, ("objective",), "does not match any of the expected tags"),
    ],
)
def test_points_that_cannot_be_placed_are_refused_with_a_path(
    changes: dict[str, Any], path: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        points(**changes)
    (error,) = caught.value.errors()
    assert error["loc"] == path
    assert message in error["msg"]


@pytest.mark.parametrize("changes", [{"half_space": True}, {"objective": {"kind": "covering"}}])
def test_one_point_is_asked_for_where_that_makes_sense(changes: dict[str, Any]) -> None:
    assert points(n=1, **changes).total_steps == 1


def test_the_steps_of_placing_points_are_the_starts() -> None:
    assert points(starts=7).total_steps == 7
    assert points().total_steps == 32
    assert points(n=400).total_steps == 8
    assert points(n=4).total_steps == 1  # every start leads to the simplex
    assert points(n=4, objective={"kind": "riesz", "s": 0, "angular": True}).total_steps == 32


def test_a_task_says_what_its_callers_need() -> None:
    training, placing = parse(record={"every": 7}), points()
    assert (training.recorded_every, placing.recorded_every) == (7, 1)
    assert (training.required_dataset, placing.required_dataset) == (spec.Digits(), None)
    assert (training.checkpoint_policy, placing.checkpoint_policy) == (spec.Checkpoint(), None)
    assert [misfit.pointer for misfit in training.misfits(placing, 1)] == ["/task"]
    assert [misfit.pointer for misfit in placing.misfits(placing, 1)] == ["/task"]
    assert list(training.misfits(training, 1)) == []
