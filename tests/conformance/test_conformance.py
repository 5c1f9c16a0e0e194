"""The API answers as its OpenAPI document says: the short form of `make conformance`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from conformance import hostile
from conformance.suite import ask, unlimited

New = Callable[[], AbstractContextManager[str]]


def test_generated_calls_are_answered_as_documented(new_database: New, new_redis: New) -> None:
    with new_database() as database_url, new_redis() as redis_url, unlimited(database_url, redis_url) as served:
        verdict = ask(served, examples=15, seed=1, phases="examples,fuzzing,stateful")
    assert verdict.is_good, verdict.report
    assert verdict.calls >= 300


def test_hostile_bodies_are_refused_cheaply_and_with_a_reason(new_database: New, new_redis: New) -> None:
    with new_database() as database_url, new_redis() as redis_url, unlimited(database_url, redis_url) as served:
        assert hostile.faults(served) == []
