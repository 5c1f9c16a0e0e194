"""What may be submitted."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hsu_jobs.spec import JobSpec


def test_the_fingerprint_says_what_is_trained_not_how_it_is_called(spec: JobSpec) -> None:
    named = spec.model_copy(update={"name": "other", "tags": ("x",)})
    assert named.fingerprint == spec.fingerprint
    assert spec.model_copy(update={"seed": 1}).fingerprint != spec.fingerprint


def test_a_spec_survives_json(spec: JobSpec) -> None:
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("change", [{"tags": ["no spaces"]}, {"name": " "}, {"limits": {"max_attempts": 0}}, {"x": 1}])
def test_a_bad_field_is_an_error_with_its_path(spec: JobSpec, change: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate(spec.model_dump() | change)
    assert caught.value.errors()[0]["loc"][0] == next(iter(change))
