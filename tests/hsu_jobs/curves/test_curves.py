"""Curves: what was written is what is read, bit for bit."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hsu_core.outcomes import Reference, Series
from hsu_jobs import lifecycle
from hsu_jobs.curves import Choice, Point, count, each, find, forget_ended, read, roll_back, windows, write
from hsu_jobs.curves.lineage import LAST_STEP, line_of
from hsu_jobs.errors import NotFound
from hsu_jobs.spec import JobSpec
from hsu_jobs.tables import Block, User

LOSS = Series(None, "loss")
TEST = Series(None, "test_accuracy")
ENERGY = Series("conv1_1", "mhe_s2")


def job(session: Session, owner: User, spec: JobSpec) -> int:
    return lifecycle.submit(session, spec, owner=owner).id


def blocks(session: Session) -> int:
    return session.execute(select(func.count()).select_from(Block)).scalar_one()


def test_values_come_back_bit_for_bit_with_nan_and_infinities(session: Session, owner: User, spec: JobSpec) -> None:
    values = [0.1, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308]
    made = job(session, owner, spec)
    write(session, made, [Point(step, 1.5, {LOSS: value}) for step, value in enumerate(values)])
    (curve,) = read(session, made)
    assert (curve.layer, curve.measure) == LOSS
    assert curve.steps.tolist() == list(range(7))
    assert curve.values.tobytes() == np.array(values).tobytes()


def test_series_with_different_steps_share_a_job(session: Session, owner: User, spec: JobSpec) -> None:
    made = job(session, owner, spec)
    write(session, made, [Point(0, 0, {LOSS: 3.0, ENERGY: 0.5}), Point(5, 0, {TEST: 0.4})])
    write(session, made, [Point(10, 0, {LOSS: 1.0, ENERGY: 0.4, TEST: 0.9}), Point(15, 0, {LOSS: 0.5, ENERGY: 0.3})])
    curves = {Series(curve.layer, curve.measure): curve for curve in read(session, made)}
    assert curves[LOSS].steps.tolist() == [0, 10, 15]
    assert curves[LOSS].values.tolist() == [3.0, 1.0, 0.5]
    assert curves[TEST].steps.tolist() == [5, 10]
    assert curves[ENERGY].values.tolist() == [0.5, 0.4, 0.3]


def test_a_flush_is_one_row_for_each_set_of_series(session: Session, owner: User, spec: JobSpec) -> None:
    made = job(session, owner, spec)
    write(session, made, [Point(step, 0, {LOSS: 1.0, ENERGY: 2.0}) for step in range(100)])
    assert blocks(session) == 1


def test_writing_the_same_points_again_changes_nothing(session: Session, owner: User, spec: JobSpec) -> None:
    made = job(session, owner, spec)
    points = [Point(step, 0, {LOSS: float(step)}) for step in range(4)]
    write(session, made, points)
    write(session, made, points)
    assert blocks(session) == 1
    assert read(session, made)[0].steps.tolist() == [0, 1, 2, 3]


def test_writing_nothing_writes_nothing(session: Session, owner: User, spec: JobSpec) -> None:
    made = job(session, owner, spec)
    write(session, made, [])
    assert blocks(session) == 0


def test_a_reader_chooses_layers_measures_and_steps(session: Session, owner: User, spec: JobSpec) -> None:
    made = job(session, owner, spec)
    write(session, made, [Point(step, 0, {LOSS: 1.0, ENERGY: 2.0, TEST: 3.0}) for step in range(10)])
    assert [curve.measure for curve in read(session, made, layers=["conv1_1"])] == ["mhe_s2"]
    assert [curve.measure for curve in read(session, made, measures=["loss"])] == ["loss"]
    assert read(session, made, measures=["loss"], first=3, last=5)[0].steps.tolist() == [3, 4, 5]


def test_a_curve_that_is_not_there_is_told_with_those_that_are_like_it(
    session: Session, owner: User, spec: JobSpec
) -> None:
    made = job(session, owner, spec)
    assert read(session, made, measures=["nothing"]) == []  # as nothing was measured yet
    write(session, made, [Point(0, 0, {LOSS: 1.0, ENERGY: 2.0, TEST: 3.0})])
    with pytest.raises(NotFound, match=r"no curve of the measure 'mhe_2'; there are mhe_s2$"):
        read(session, made, measures=["loss", "mhe_2"])
    with pytest.raises(NotFound, match=r"no curve of the layer 'x'; there are conv1_1$"):
        read(session, made, layers=["x"])


def test_a_reader_learns_when_each_step_was_measured(session: Session, owner: User, spec: JobSpec) -> None:
    made = job(session, owner, spec)
    write(session, made, [Point(step, 100.0 + step / 7, {LOSS: 1.0}) for step in (3, 5, 11)])
    (curve,) = read(session, made, first=4)
    assert curve.times.tolist() == [100.0 + 5 / 7, 100.0 + 11 / 7]


def test_references_are_written_with_the_first_point_and_read_with_every_curve(
    session: Session, owner: User, spec: JobSpec
) -> None:
    made, references = (
        job(session, owner, spec),
        {ENERGY: Reference(0.5, None, 0.45, "Yudin 1992"), TEST: Reference(None, None)},
    )
    for step in (0, 1):
        write(session, made, [Point(step, 0, {LOSS: 1.0, ENERGY: 2.0})] * 2, references=references)
    read_back = {Series(curve.layer, curve.measure): curve.reference for curve in read(session, made)}
    assert read_back == {LOSS: Reference(None, None), ENERGY: Reference(0.5, None, 0.45, "Yudin 1992")}


def test_a_gap_is_counted_from_the_reference_and_only_where_there_is_one(
    session: Session, owner: User, spec: JobSpec
) -> None:
    made, other = job(session, owner, spec), Series("conv1_2", "mhe_s2")
    references = {
        ENERGY: Reference(random=0.5, optimum=0.25),
        other: Reference(0.75, None, bound=0.5, bound_source="Welch 1974"),
    }
    values = {LOSS: 1.0, ENERGY: 0.375, other: math.inf}
    write(session, made, [Point(0, 0, values)], references=references)
    to_random = read(session, made, relative_to="random")
    assert [(curve.layer, curve.values.tolist(), curve.reference) for curve in to_random] == [
        ("conv1_1", [-0.125], Reference(0.0, -0.25)),
        ("conv1_2", [math.inf], Reference(0.0, None, -0.25, "Welch 1974")),
    ]
    (to_optimum,) = read(session, made, relative_to="optimum")
    assert (to_optimum.values.tolist(), to_optimum.reference) == ([0.125], Reference(0.25, 0.0))
    to_bound = read(session, made, relative_to="bound")  # the proven optimum where there is one
    assert [(curve.values.tolist(), curve.reference) for curve in to_bound] == [
        ([0.125], Reference(0.25, 0.0)),
        ([math.inf], Reference(0.25, None, 0.0, "Welch 1974")),
    ]


def test_what_is_asked_for_is_counted_without_the_rest_of_its_block(
    session: Session, owner: User, spec: JobSpec
) -> None:
    made = job(session, owner, spec)
    write(session, made, [Point(step, 0, {LOSS: 1.0, ENERGY: 2.0}) for step in range(1000)])
    assert count(session, find(session, [made], Choice())) == 2000
    assert count(session, find(session, [made], Choice(measures=["loss"], first=10, last=12))) == 3
    assert [(piece.first, piece.last) for piece in windows(session, made, Choice(first=5, last=9), values=1)] == [
        (5, 9)
    ]


def test_long_reads_go_in_pieces_that_follow_one_another(session: Session, owner: User, spec: JobSpec) -> None:
    made = job(session, owner, spec)
    for begin in range(0, 40, 10):
        write(session, made, [Point(step, 0, {LOSS: float(step)}) for step in range(begin, begin + 10)])
    pieces = windows(session, made, Choice(first=3), values=20)
    assert [(piece.first, piece.last) for piece in pieces] == [(3, 19), (20, LAST_STEP)]
    assert [step for piece in pieces for step in read(session, made, piece)[0].steps.tolist()] == list(range(3, 40))


def test_curves_of_two_jobs_stay_apart(session: Session, owner: User, spec: JobSpec) -> None:
    one, other = job(session, owner, spec), job(session, owner, spec)
    write(session, one, [Point(0, 0, {LOSS: 1.0})])
    write(session, other, [Point(0, 0, {LOSS: 2.0})])
    assert read(session, one)[0].values.tolist() == [1.0]


def test_a_fork_goes_on_from_its_ancestors_curves(session: Session, owner: User, spec: JobSpec) -> None:
    first, second, third = (lifecycle.submit(session, spec, owner=owner) for _ in range(3))
    second.parent_id, second.parent_step = first.id, 20
    third.parent_id, third.parent_step = second.id, 30
    session.flush()
    for begin, made in ((0, first), (20, second), (30, third)):
        write(session, made.id, [Point(step, 0, {LOSS: float(made.id)}) for step in range(begin, 50, 10)])
    (curve,) = read(session, third.id)
    assert curve.steps.tolist() == [0, 10, 20, 30, 40]
    assert curve.values.tolist() == [first.id, first.id, second.id, third.id, third.id]
    (curve,) = read(session, third.id, first=10, last=25)
    assert curve.steps.tolist() == [10, 20]


def test_a_roll_back_cuts_a_block_in_two(session: Session, owner: User, spec: JobSpec) -> None:
    made = job(session, owner, spec)
    write(session, made, [Point(step, float(step), {LOSS: step / 3, ENERGY: -step / 7}) for step in range(0, 50, 10)])
    write(session, made, [Point(step, 0, {LOSS: 0.0}) for step in range(50, 90, 10)])
    roll_back(session, made, 20)
    session.flush()
    energy, loss = sorted(read(session, made), key=lambda curve: curve.measure, reverse=True)
    assert (loss.steps.tolist(), loss.values.tolist()) == ([0, 10], [0.0, 10 / 3])
    assert (energy.steps.tolist(), energy.values.tolist()) == ([0, 10], [0.0, -10 / 7])
    write(session, made, [Point(20, 0, {LOSS: 1.0})])
    assert [curve.steps.tolist() for curve in read(session, made, measures=["loss"])] == [[0, 10, 20]]


def test_the_curves_of_long_ended_jobs_are_forgotten_if_no_fork_needs_them(
    session: Session, owner: User, spec: JobSpec
) -> None:
    old, needed, recent = (lifecycle.submit(session, spec, owner=owner) for _ in range(3))
    fork = lifecycle.submit(session, spec, owner=owner)
    fork.parent_id, fork.parent_step = needed.id, 1
    for made in (old, needed, recent, fork):
        write(session, made.id, [Point(0, 0, {LOSS: 1.0})])
        if made is not fork:
            lifecycle.cancel(session, made.id)
    session.flush()
    for made in (old, needed):
        made.finished_at = func.now() - timedelta(days=3)
    session.flush()
    assert forget_ended(session, before=timedelta(days=2)) == [old.id]
    assert [len(read(session, made.id)) for made in (old, needed, recent, fork)] == [0, 1, 1, 1]
    assert forget_ended(session, before=timedelta(days=2)) == []


@pytest.mark.parametrize("length", [3, 5])
def test_a_running_fork_keeps_the_curves_of_its_whole_line(
    session: Session, owner: User, spec: JobSpec, length: int
) -> None:
    """A, from which B was forked, from which C was: C alone still runs, and begins with the steps of A and B."""
    line = [lifecycle.submit(session, spec, owner=owner) for _ in range(length)]
    other = lifecycle.submit(session, spec, owner=owner)
    other.parent_id, other.parent_step = line[0].id, 5
    for place, made in enumerate(line):
        if place:
            made.parent_id, made.parent_step = line[place - 1].id, 10 * place
        write(session, made.id, [Point(step, 0, {LOSS: float(place)}) for step in range(10 * place, 10 * place + 20)])
    write(session, other.id, [Point(5, 0, {LOSS: 1.0})])
    for made in (*line[:-1], other):
        lifecycle.cancel(session, made.id)
        made.finished_at = func.now() - timedelta(days=3)
    session.flush()
    assert forget_ended(session, before=timedelta(days=2)) == [other.id]
    (loss,) = read(session, line[-1].id)
    assert loss.steps.tolist() == list(range(10 * length + 10))

    lifecycle.cancel(session, line[-1].id)
    line[-1].finished_at = func.now() - timedelta(days=1)  # it has ended, its own time has not passed
    session.flush()
    assert forget_ended(session, before=timedelta(days=2)) == []
    line[-1].finished_at = func.now() - timedelta(days=3)
    session.flush()
    assert set(forget_ended(session, before=timedelta(days=2))) == {made.id for made in line}


@pytest.mark.parametrize("values", [1, 7, 25, 60, 1000])
def test_long_curves_come_in_parts_that_are_the_whole(
    session: Session, owner: User, spec: JobSpec, values: int
) -> None:
    first, fork = (lifecycle.submit(session, spec, owner=owner) for _ in range(2))
    fork.parent_id, fork.parent_step = first.id, 35
    session.flush()
    for begin in range(0, 40, 10):
        points = [Point(step, 0, {LOSS: step / 7, ENERGY: math.nan}) for step in range(begin, begin + 10)]
        write(session, first.id, points, references={ENERGY: Reference(0.5, None)})
    write(session, fork.id, [Point(35, 1, {TEST: 0.5, LOSS: 2.0}), Point(50, 1, {LOSS: 3.0})])
    for choice in (Choice(), Choice(first=8, last=36), Choice(measures=["loss"], first=51)):
        whole = read(session, fork.id, choice)
        for expected, curve in zip(
            whole, each(session, line_of(session, fork.id, choice), choice, values=values), strict=True
        ):
            assert (curve.layer, curve.measure, curve.reference) == expected[:3]
            for _ in range(2):
                parts = list(curve.parts())
                for column in ("steps", "times", "values"):
                    read_in_parts = np.concatenate([getattr(part, column) for part in parts])
                    assert read_in_parts.tobytes() == getattr(expected, column).tobytes()
            assert all(len(part.steps) <= max(values, 10) for part in parts)
