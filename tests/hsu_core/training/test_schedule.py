"""The learning rate is a function of progress alone."""

import pytest
from pydantic import ValidationError

from hsu_core import spec
from hsu_core.training.schedule import FACTORS, rate


def rates(schedule: spec.Schedule, *steps: int, total: int = 100) -> list[float]:
    return [rate(schedule, 0.1, step=step, total=total) for step in steps]


def test_every_kind_of_the_spec_has_a_factor() -> None:
    assert set(FACTORS) == set(spec.kinds(spec.Schedule))


def test_a_constant_rate_stays() -> None:
    assert rates(spec.Constant(), 0, 50, 100) == [0.1, 0.1, 0.1]


def test_a_step_decay_falls_at_its_milestones() -> None:
    schedule = spec.StepDecay(milestones=(0.4, 0.7), gamma=0.5)
    assert rates(schedule, 0, 39, 40, 69, 70, 99) == [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]


def test_a_cosine_falls_from_the_base_rate_to_0() -> None:
    assert rates(spec.Cosine(), 0, 50, 100) == pytest.approx([0.1, 0.05, 0])


def test_a_warm_up_rises_from_0_to_the_base_rate() -> None:
    assert rates(spec.Cosine(warmup=0.2), 0, 10, 20, 60, 100) == pytest.approx([0, 0.05, 0.1, 0.05, 0])


def test_milestones_may_be_steps() -> None:
    schedule = spec.MultiStep(milestones=(30, 50), gamma=0.1)
    assert rates(schedule, 0, 29, 30, 49, 50, 74, total=75) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_every_schedule_with_milestones_may_warm_up() -> None:
    steps = spec.MultiStep(milestones=(30,), warmup=10)
    fractions = spec.StepDecay(milestones=(0.3,), warmup=0.1)
    for schedule in (steps, fractions):
        assert rates(schedule, 0, 5, 10, 30) == pytest.approx([0, 0.05, 0.1, 0.01])


def test_milestones_must_ascend() -> None:
    for kind, milestones in ((spec.MultiStep, (5, 5)), (spec.StepDecay, (0.5, 0.4))):
        with pytest.raises(ValidationError, match="milestones must ascend"):
            kind(milestones=milestones)
