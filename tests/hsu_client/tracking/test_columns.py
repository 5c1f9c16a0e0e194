"""Batches in bytes: the service reads what the client writes."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hsu_client.tracking.columns import Point, encode
from hsu_core.outcomes import Series
from hsu_jobs import curves

NAMES = st.one_of(
    st.sampled_from(["loss", "accuracy", "é"]), st.tuples(st.sampled_from(["fc1", "fc2"]), st.just("mhe"))
)
POINTS = st.lists(
    st.builds(Point, st.integers(0, 20), st.floats(0, 1e9), st.dictionaries(NAMES, st.floats(), min_size=1)),
    max_size=30,
)


def written(points: list[Point]) -> dict[tuple[Any, int], float]:
    """What the service finds in a batch, by curve and step; each once."""
    found: dict[tuple[Any, int], float] = {}
    for columns in curves.decode(encode(points)[0]):
        for name, row in zip(columns.series, columns.values, strict=True):
            for step, value in zip(columns.steps.tolist(), row.tolist(), strict=True):
                assert (name, step) not in found
                found[name, step] = value
    return found


@given(POINTS)
def test_each_curve_has_its_values_at_ascending_steps_and_the_rest_is_counted(points: list[Point]) -> None:
    expected: dict[tuple[Any, int], float] = {}
    last: dict[Any, int] = {}
    left_out = 0
    for step, _, values in points:
        for name, value in values.items():
            series = Series(None, name) if isinstance(name, str) else Series(*name)
            if step <= last.get(series, -1):
                left_out += 1
                continue
            last[series] = step
            expected[series, step] = value
    found = written(points)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key], expected[key], equal_nan=True) for key in found)
    assert encode(points)[1] == left_out


def test_curves_that_are_logged_together_and_apart_lose_nothing() -> None:
    points = [Point(step, 1.0, {"loss": 1.0} | ({"test": 2.0} if step % 3 == 0 else {})) for step in range(10)]
    assert len(written(points)) == 10 + 4
    assert encode(points)[1] == 0
