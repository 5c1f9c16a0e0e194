"""Are the published trainings complete, valid, and at their first step what their sources logged?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from hsu_core import spec
from hsu_core.data.images import Images
from hsu_core.outcomes import Series
from hsu_core.training import loop
from hsu_core.training.callbacks import Callbacks
from hsu_jobs import recipes
from hsu_jobs.spec import parse

ALL = {recipe.name: recipe for recipe in recipes.recipes()}
WHOLE = [name for name in ALL if not name.endswith(recipes.SHORT)]


def test_there_is_one_for_each_of_the_authors_methods_and_a_short_form_of_each() -> None:
    energies = [f"{half}mhe-{kind}{s}" for half in ("", "half-") for kind in "sa" for s in (0, 1, 2)]
    projections = [f"comhe-{kind}" for kind in ("random", "angle", "adversarial")]
    methods = ["baseline", *energies, *projections, "mhs", "mhp", "rmhp", "mhc", "mgd"]
    assert set(WHOLE) == {f"cifar100-{method}" for method in methods}
    assert set(ALL) == {*WHOLE, *(name + recipes.SHORT for name in WHOLE)}


@pytest.mark.parametrize("name", WHOLE)
def test_a_short_form_is_a_tenth_of_the_whole_and_else_the_same(name: str) -> None:
    whole, short = (parse(ALL[each].spec).model_dump(mode="json") for each in (name, name + recipes.SHORT))
    assert whole["duration"]["steps"] == 10 * short["duration"]["steps"]
    assert whole["schedule"]["milestones"] == [10 * step for step in short["schedule"]["milestones"]]
    for each in (whole, short):
        del each["duration"], each["schedule"]["milestones"]
    assert whole == short


def first_values(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The model's curves at step 0, on images of noise."""
    drawn = np.random.default_rng(0)
    images = Images(
        *(
            part
            for n in (390, 10)
            for part in (drawn.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), np.arange(n) % 100)
        )
    )
    monkeypatch.setattr(loop.reading, "load", lambda *_, **__: images)
    asked: Any = {**ALL[name].spec, "record": {"every": 100, "l2": True, "measures": []}, "batch_size": 16}
    found: dict[str, float] = {}

    def report(step: int, values: dict[Series, float]) -> None:
        assert step == 0
        found.update({series.measure: value for series, value in values.items() if series.layer is None})

    stopping = iter((False, True))
    loop.train(
        spec.TRAINING.validate_python(asked),
        callbacks=Callbacks(report=report, should_stop=lambda: next(stopping)),  # type: ignore[arg-type]
    )
    return found


def test_the_first_values_are_those_of_the_authors_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """iter_0 of rmlin/CoMHE, random projection: fit=6.3621, reg=1.1871, thom=5.1348, thomf=5.0269."""
    found = first_values("cifar100-comhe-random", monkeypatch)
    assert found["l2"] == pytest.approx(1.186, abs=0.005)
    assert found["penalty"] == pytest.approx(5.1348 + 5.0269, abs=0.02)
    assert found["learning_rate"] == 0.1


def test_a_file_with_a_field_that_does_not_exist_is_refused() -> None:
    file = {
        "version": 1,
        "source": "a paper",
        "spec": {},
        "short": {},
        "recipes": {"one": {"summary": "", "chnage": {}}},
    }
    with pytest.raises(ValidationError, match="chnage"):
        recipes._File.model_validate(file)
