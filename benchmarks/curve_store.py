"""How fast are curves written and read, what do they take, and does it stay so when much is stored?

Parts of `benchmarks/service.py`, which compares them with MLflow. Everything goes through the service's own code:
writers flush through `attempts.progress`, fenced and committed; the sweep's compaction runs beside them.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import databases
import numpy as np
import psycopg
from sqlalchemy import insert

from hsu_core.outcomes import Series
from hsu_jobs import attempts, curves, database, lifecycle, settings
from hsu_jobs.access import keys
from hsu_jobs.cluster.claiming import Room
from hsu_jobs.curves import Choice, Point, compaction, layout
from hsu_jobs.curves.layout import Matrix
from hsu_jobs.spec import parse
from hsu_jobs.tables import Block, Role, SeriesRow, User
from worker import maintenance

SPEC = parse(
    {
        "dataset": {"kind": "digits"},
        "model": {"kind": "mlp"},
        "regularizer": {"kind": "none"},
        "duration": {"steps": 10},
    }
)
SERIES = 100
FLUSH = 100
"""Steps of a flush: with 100 series as many values as ten of MLflow's largest batches."""
NAMES = [Series(f"layer{number // 10}", f"measure{number % 10}") for number in range(SERIES)]


@contextmanager
def using(url: str) -> Iterator[None]:
    """Let the service's code in this process use this database."""
    before = os.environ.get("HSU_DATABASE_URL")
    _use(url)
    try:
        yield
    finally:
        database.engine().dispose()
        if before is None:
            del os.environ["HSU_DATABASE_URL"]
        else:
            _use(before)


def _use(url: str) -> None:
    os.environ["HSU_DATABASE_URL"] = url
    settings.settings.cache_clear()
    database.engine.cache_clear()


class Ingest(NamedTuple):
    """What the writers managed."""

    values_a_second: float
    flush_p50: float
    flush_p99: float
    """Milliseconds of a flush, committed."""
    merged: int
    """Transactions of compaction meanwhile."""


def ingest(url: str, *, writers: int, seconds: float) -> Ingest:
    """So many writers, each with a job of its own, for so long, with compaction running."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(writers) as pool, context.Pool(1) as other:
        pool.map(_warm, [url] * writers, chunksize=1)
        merging = other.apply_async(_merge_until, (url, _deadline(seconds)))
        rows = pool.starmap(_write_until, [(url, _deadline(seconds))] * writers, chunksize=1)
        merged = merging.get()
    flushes = np.concatenate([latencies for latencies, _ in rows])
    rate = sum(len(latencies) * FLUSH * SERIES / took for latencies, took in rows)
    p50, p99 = np.percentile(1e3 * flushes, (50, 99))
    return Ingest(rate, float(p50), float(p99), merged)


def _deadline(seconds: float) -> float:
    return time.time() + seconds


def _warm(url: str) -> None:
    _use(url)
    time.sleep(0.5)  # so that every process of the pool gets one


def _write_until(url: str, deadline: float) -> tuple[list[float], float]:
    """Flush without a pause; seconds of each flush, and of all."""
    _use(url)
    random = np.random.default_rng(os.getpid())
    drawn = [dict(zip(NAMES, row, strict=True)) for row in random.standard_normal((10 * FLUSH, SERIES)).tolist()]
    with database.transaction() as session:
        token = _running(session)
    latencies, step, began = [], 0, time.time()
    while time.time() < deadline:
        points = [Point(step + each, time.time(), drawn[(step + each) % len(drawn)]) for each in range(FLUSH)]
        step += FLUSH
        asked = time.perf_counter()
        with database.transaction() as session:
            attempts.progress(session, token, step=step, points=points)
        latencies.append(time.perf_counter() - asked)
    return latencies, time.time() - began


def _merge_until(url: str, deadline: float) -> int:
    _use(url)
    merged = 0
    while time.time() < deadline:
        merged += maintenance.merge_blocks()
        time.sleep(1)
    return merged


def _running(session: object) -> object:
    """A job with a live attempt; the attempt's token."""
    keys.create(session, user=f"writer {os.getpid()}", role=Role.MEMBER)
    owner = session.query(User).filter_by(name=f"writer {os.getpid()}").one()
    lifecycle.submit(session, SPEC, owner=owner)
    session.flush()
    claim = attempts.claim(session, Room(f"w{os.getpid()}", "default", ("cpu:0",), 1), settings.settings())
    return claim.token


class Space(NamedTuple):
    """What a value takes, in bytes, indexes and all."""

    merged: float
    vacuumed_full: float


def space(url: str) -> Space:
    """End every job, merge what is left, vacuum, and weigh the tables."""
    with psycopg.connect(databases.plain(url), autocommit=True) as connection:
        connection.execute("UPDATE attempts SET ended_at = now()")
        connection.execute("UPDATE jobs SET state = 'cancelled', finished_at = now()")
        while maintenance.merge_blocks():
            pass
        values = connection.execute("SELECT sum(count::bigint * cardinality(series)) FROM curve_blocks").fetchone()[0]
        sizes = []
        for full in ("", "FULL"):
            connection.execute(f"VACUUM {full} curve_blocks")
            weighed = """
                SELECT sum(pg_total_relation_size(relid)) + pg_total_relation_size('curve_series')
                FROM pg_partition_tree('curve_blocks')
            """
            sizes.append(float(connection.execute(weighed).fetchone()[0] / values))
    return Space(*sizes)


def long_job(points: int, *, series: int = 1, owner: str = "reader") -> int:
    """A job that measured so many points, merged as compaction merges them."""
    return _store([points], series=series, owner=owner)[0]


def _store(sizes: list[int], *, series: int, owner: str = "reader") -> list[int]:
    """Jobs with so many recorded steps each, in final blocks."""
    with database.transaction() as session:
        keys.create(session, user=owner, role=Role.MEMBER)
        user = session.query(User).filter_by(name=owner).one()
        jobs = [lifecycle.submit(session, SPEC, owner=user) for _ in sizes]
        session.flush()
        made = [job.id for job in jobs]
    random = np.random.default_rng(0)
    for job_id, size in zip(made, sizes, strict=True):
        steps = np.arange(size)
        whole = Matrix(range(series), steps, 1e9 + steps, np.cumsum(random.standard_normal((series, size)), axis=1))
        with database.transaction() as session:
            rows = [layout.row(job_id, part, is_final=True) for part in compaction.parts(whole)]
            session.execute(insert(Block), rows)
            for number, name in enumerate(NAMES[:series]):
                session.add(SeriesRow(job_id=job_id, number=number, **name._asdict()))
    return made


def others(jobs: int, steps: int, series: int) -> None:
    """Store many other jobs beside."""
    for begin in range(0, jobs, 50):
        _store([steps] * min(50, jobs - begin), series=series)


def sample_once(job_id: int, buckets: int) -> None:
    """One curve as a chart."""
    with database.transaction() as session:
        choice = Choice(measures=["measure0"], layers=["layer0"])
        chart = curves.sample(session, curves.find(session, [job_id], choice), choice, max_points=buckets)
    assert buckets / 2 <= len(chart.curves[0].buckets.first) <= buckets


def read_once(job_id: int, points: int) -> None:
    """One curve in full."""
    with database.transaction() as session:
        (curve,) = curves.read(session, job_id, measures=["measure0"], layers=["layer0"], last=points - 1)
    assert len(curve.values) == points


def median_ms(what: Callable[[], object], *, times: int) -> float:
    """Median milliseconds, after a first time that does not count."""
    what()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        what()
        taken.append(time.perf_counter() - began)
    return 1e3 * statistics.median(taken)
