"""What may be asked for in `evaluate`, what is refused and why, and that other specs stay as they were."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from small_worlds import TRAININGS, training

from hsu_core import spec
from hsu_core.spec.evaluate import OPTIONS


def refused(network: str, **evaluate: Any) -> tuple[tuple[str | int, ...], str, str]:
    with pytest.raises(ValidationError) as caught:
        training(network, evaluate=evaluate)
    first = caught.value.errors()[0]
    return first["loc"][1:], first["type"], first["msg"]


def test_a_spec_that_asks_for_nothing_is_written_as_before() -> None:
    assert spec.Evaluate().model_dump(mode="json") == {"every": None}
    assert spec.Evaluate(calibration=spec.Calibration()).model_dump(mode="json") == {
        "every": None,
        "calibration": {"bins": 15},
    }


def test_a_spec_survives_json() -> None:
    asked = training("small_cnn", evaluate={option: {} for option in OPTIONS})
    assert spec.TRAINING.validate_json(asked.model_dump_json()) == asked
    assert asked.evaluate.options == OPTIONS


@pytest.mark.parametrize(
    ("asked", "path", "code"),
    [
        ({"attacks": {"methods": [{"kind": "cw"}]}}, ("attacks", "methods", 0), "union_tag_invalid"),
        ({"attacks": {"methods": []}}, ("attacks", "methods"), "too_short"),
        ({"attacks": {"methods": [{"kind": "pgd"}, {"kind": "pgd", "steps": 3}]}}, ("attacks", "methods"), "repeated"),
        ({"attacks": {"methods": [{"kind": "fgsm"}] * 3}}, ("attacks", "methods"), "too_long"),
        ({"attacks": {"methods": [{"kind": "pgd", "steps": 0}]}}, ("attacks", "methods", 0, "pgd", "steps"), None),
        ({"attacks": {"epsilons": [8]}}, ("attacks", "epsilons", 0), "less_than_equal"),
        ({"attacks": {"epsilons": [-0.1]}}, ("attacks", "epsilons", 0), "greater_than_equal"),
        ({"attacks": {"epsilons": [float("nan")]}}, ("attacks", "epsilons", 0), None),
        ({"attacks": {"epsilons": [0.1, 0.1]}}, ("attacks", "epsilons"), "repeated"),
        ({"attacks": {"epsilons": [0.01 * i for i in range(17)]}}, ("attacks", "epsilons"), "too_long"),
        ({"attacks": {"examples": 361}}, ("attacks", "examples"), "too_many_examples"),
        ({"corruptions": {"kinds": ["fog"]}}, ("corruptions", "kinds", 0), "literal_error"),
        ({"corruptions": {"severities": [0]}}, ("corruptions", "severities", 0), "greater_than_equal"),
        ({"corruptions": {"severities": [6]}}, ("corruptions", "severities", 0), "less_than_equal"),
        ({"features": {"measures": ["nc1"]}}, ("features", "measures", 0), "literal_error"),
        ({"features": {"measures": ["alignment", "alignment"]}}, ("features", "measures"), "repeated"),
        ({"features": {"of": "validation"}}, ("features", "of"), "literal_error"),
        ({"calibration": {"bins": 0}}, ("calibration", "bins"), "greater_than_equal"),
        ({"robustness": {}}, ("robustness",), "extra_forbidden"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_a_path(
    asked: dict[str, Any], path: tuple[str | int, ...], code: str | None
) -> None:
    where, kind, _ = refused("small_cnn", **asked)
    assert where == ("evaluate", *path)
    assert code is None or kind == code


REFUSED = {"nodes": {"attacks", "corruptions"}, "texts": {"attacks", "corruptions"}, "recommendation": set(OPTIONS)}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("network", TRAININGS)
def test_every_task_takes_an_option_or_refuses_it_with_the_reason(network: str, option: str) -> None:
    if option not in REFUSED.get(TRAININGS[network]["task"], set()):
        assert training(network, evaluate={option: {}}).evaluate.options == (option,)
        return
    where, code, message = refused(network, **{option: {}})
    assert where == ("evaluate", option)
    assert code == ("no_pixels" if option in ("attacks", "corruptions") else "no_classes")
    assert message.startswith({"attacks": "an attack on a task that has no pixels"}.get(option, option))
