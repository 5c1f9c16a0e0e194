"""Merging blocks: what was written is what is read, bit for bit, however it was merged, taken back and written anew."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from hsu_core.outcomes import Series
from hsu_jobs import database, lifecycle
from hsu_jobs.curves import Choice, Point, compaction, find, layout, read, roll_back, sample, write
from hsu_jobs.curves.lineage import LAST_STEP
from hsu_jobs.spec import JobSpec
from hsu_jobs.states import State
from hsu_jobs.tables import Block, Job, User

LOSS, TEST = Series(None, "loss"), Series(None, "test_accuracy")
ENERGY = Series("conv1_1", "mhe_s2")
VALUES = st.floats(width=64) | st.sampled_from([math.nan, math.inf, -math.inf, -0.0])


@pytest.fixture
def job(session: Session, owner: User, spec: JobSpec) -> Job:
    made = lifecycle.submit(session, spec, owner=owner)
    session.flush()
    return made


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that are full soon, so that a few points go through every level."""
    for module in (layout, compaction):
        monkeypatch.setattr(module, "MEDIUM", 4)
        monkeypatch.setattr(module, "FULL", 16)
    monkeypatch.setattr(compaction, "AT_ONCE", 32)
    monkeypatch.setattr(layout, "CELLS", 2)


def levels(session: Session, job: Job) -> list[int]:
    rows = select(Block.level).where(Block.job_id == job.id).order_by(Block.first_step, Block.lead)
    return list(session.execute(rows).scalars())


def flush(session: Session, job: Job, *steps: int) -> None:
    write(session, job.id, [Point(step, step / 10, {LOSS: step / 3, ENERGY: -step}) for step in steps])


def end(session: Session, job: Job) -> None:
    lifecycle.move(job, State.CANCELLED)
    session.flush()


def test_small_blocks_become_medium_ones_and_those_final_ones(session: Session, job: Job) -> None:
    for step in range(64):
        assert not compaction.compact(session, job.id)
        flush(session, job, step)
    assert compaction.due(session) == [job.id]
    assert compaction.compact(session, job.id)
    assert levels(session, job) == [1]
    flush(session, job, *range(64, 4096))
    assert compaction.compact(session, job.id)
    assert levels(session, job) == [2]
    assert compaction.due(session) == []
    (energy, loss) = sorted(read(session, job.id), key=lambda curve: curve.measure, reverse=True)
    assert loss.steps.tolist() == list(range(4096))
    assert (loss.values == np.arange(4096) / 3).all()
    assert (energy.times == np.arange(4096) / 10).all()


def test_an_ended_jobs_blocks_become_one(session: Session, job: Job) -> None:
    for step in range(5):
        flush(session, job, step)
    assert compaction.due(session) == []
    end(session, job)
    assert compaction.due(session) == [job.id]
    assert compaction.compact(session, job.id)
    assert levels(session, job) == [2]
    assert compaction.due(session) == []
    assert not compaction.compact(session, job.id)


def test_series_with_other_steps_get_blocks_of_their_own(session: Session, job: Job) -> None:
    for step in range(10):
        values = {LOSS: 1.0 * step} | ({TEST: 0.5} if step % 5 == 0 else {})
        write(session, job.id, [Point(step, 0, values)])
    end(session, job)
    compaction.compact(session, job.id)
    blocks = session.execute(select(Block.count, Block.steps).order_by(Block.count)).all()
    assert blocks == [(2, None), (10, None)]  # evenly spaced, both
    assert {curve.measure: curve.steps.tolist() for curve in read(session, job.id)} == {
        "loss": list(range(10)),
        "test_accuracy": [0, 5],
    }


def test_a_final_block_that_is_cut_is_merged_again(session: Session, job: Job) -> None:
    flush(session, job, *range(5000))
    compaction.compact(session, job.id)
    roll_back(session, job.id, 100)
    assert levels(session, job) == [1]
    flush(session, job, *range(100, 4096))
    compaction.compact(session, job.id)
    assert levels(session, job) == [2]
    assert read(session, job.id)[0].steps.tolist() == list(range(4096))


def test_much_that_nobody_merged_is_merged_part_by_part(session: Session, job: Job, small: None) -> None:
    for step in range(0, 100, 5):
        flush(session, job, *range(step, step + 5))
    sizes = []
    while compaction.compact(session, job.id):
        sizes.append(len(levels(session, job)))
    assert len(sizes) > 1
    assert set(levels(session, job)) <= {1, 2, 0}
    assert read(session, job.id)[0].steps.tolist() == list(range(100))


def test_nobody_waits_for_another_who_merges(session: Session, job: Job) -> None:
    flush(session, job, *range(5000))
    session.commit()
    with database.transaction() as first, database.transaction() as second:
        assert compaction.compact(first, job.id)
        assert not compaction.compact(second, job.id)
        assert len(read(second, job.id)[0].steps) == 5000  # as it was before


def test_a_roll_back_waits_for_who_merges_and_leaves_nothing_behind(session: Session, job: Job) -> None:
    flush(session, job, *range(5000))
    session.commit()

    def go_back() -> None:
        with database.transaction() as other:
            roll_back(other, job.id, 10)

    thread = Thread(target=go_back)
    with database.transaction() as merging:
        assert compaction.compact(merging, job.id)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join()
    assert read(session, job.id)[0].steps.tolist() == list(range(10))


class Model:
    """What the store should hold, in the plainest way."""

    def __init__(self) -> None:
        self.points: dict[Series, dict[int, float]] = {}
        self.next_step = 0

    def write(self, draw: Callable[..., Any]) -> list[Point]:
        points = []
        for _ in range(draw(st.integers(1, 12))):
            names = [LOSS, ENERGY] if draw(st.integers(0, 3)) else [TEST, LOSS]
            values = {name: draw(VALUES) for name in names}
            points.append(Point(self.next_step, float(self.next_step), values))
            for name, value in values.items():
                self.points.setdefault(name, {})[self.next_step] = value
            self.next_step += draw(st.sampled_from([1, 1, 1, 2, 7]))
        return points

    def roll_back(self, step: int) -> None:
        self.points = {
            name: {at: value for at, value in points.items() if at < step} for name, points in self.points.items()
        }
        self.next_step = step

    def buckets(self, name: Series, width: int, first: int, last: int) -> Iterator[tuple[int, int, bytes]]:
        """Of each bucket: its first step, its number of points, and the bytes of minimum, maximum, last, NaNs."""
        points = {step: value for step, value in self.points[name].items() if first <= step <= last}
        for bucket in sorted({step // width for step in points}):
            inside = [points[step] for step in sorted(points) if step // width == bucket]
            finite = [value for value in inside if not math.isnan(value)]
            extremes = (min(finite), max(finite)) if finite else (math.nan, math.nan)
            row = np.array([*extremes, inside[-1], len(inside) - len(finite)])
            yield bucket * width, len(inside), _comparable(row)


def _comparable(row: np.ndarray) -> bytes:
    """-0.0 equals 0.0 as a minimum, and any NaN any other."""
    return np.where(np.isnan(row), np.nan, row + 0.0).tobytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_history_reads_as_if_every_point_had_been_kept_in_a_list(
    session: Session, owner: User, spec: JobSpec, small: None, data: st.DataObject
) -> None:
    job, model = lifecycle.submit(session, spec, owner=owner), Model()
    session.flush()
    write(session, job.id, model.write(data.draw))
    for _ in range(data.draw(st.integers(0, 12))):
        match data.draw(st.sampled_from(["write", "write", "write", "compact", "compact", "roll back"])):
            case "write":
                write(session, job.id, model.write(data.draw))
            case "compact":
                compaction.compact(session, job.id)
            case _:
                step = data.draw(st.integers(1, max(1, model.next_step)))
                model.roll_back(step)
                roll_back(session, job.id, step)
    found = {Series(curve.layer, curve.measure): curve for curve in read(session, job.id)}
    for name, points in model.points.items():
        assert found[name].steps.tolist() == sorted(points)
        assert found[name].values.tobytes() == np.array([points[step] for step in sorted(points)]).tobytes()

    first = data.draw(st.just(0) | st.integers(0, model.next_step))
    last = data.draw(st.just(LAST_STEP) | st.integers(first, model.next_step + 1))
    max_points = data.draw(st.integers(1, 40))
    choice = Choice(first=first, last=last)
    chart = sample(session, find(session, [job.id], choice), choice, max_points=max_points)
    for curve in chart.curves:
        cells = curve.buckets
        assert len(cells.first) <= max_points
        rows = np.stack([cells.low, cells.high, cells.last, cells.nans], axis=1)
        told = [
            (bucket, count, _comparable(row))
            for bucket, count, row in zip(cells.first.tolist(), cells.counts.tolist(), rows, strict=True)
        ]
        assert told == list(model.buckets(Series(curve.layer, curve.measure), chart.width, first, last))
