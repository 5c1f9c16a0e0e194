"""The curve store under the benchmark's own load, for a moment: what is measured there still works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import curve_store
import psycopg
import pytest
from databases import plain

from hsu_jobs import database, settings


@pytest.fixture
def url(new_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    with new_database() as own, curve_store.using(own):
        yield own
    settings.settings.cache_clear()
    database.engine.cache_clear()


def test_writers_and_compaction_beside_them_leave_every_value_once(url: str) -> None:
    found = curve_store.ingest(url, writers=2, seconds=2)
    assert found.values_a_second > 0
    assert curve_store.space(url).vacuumed_full < 12  # bytes a value, steps, times and indexes included
    with psycopg.connect(plain(url)) as connection:
        ends = (
            "SELECT job_id, min(first_step), max(last_step), sum(count), max(level) FROM curve_blocks GROUP BY job_id"
        )
        jobs = connection.execute(ends).fetchall()
    assert len(jobs) == 2
    assert [(first, last + 1, level) for _, first, last, _, level in jobs] == [(0, steps, 2) for *_, steps, _ in jobs]


def test_long_curves_are_read_whole_and_as_charts(url: str) -> None:
    job = curve_store.long_job(20_000, series=3)
    curve_store.read_once(job, 10_000)
    curve_store.sample_once(job, 100)
