"""Would new test examples show it? This is not the question whether new seeds would: the networks stay as they are.

Each job of a task with classes keeps which test examples it got right. Jobs on the same test set are compared on these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from hsu_jobs.artifacts import answers
from hsu_jobs.artifacts.answers import Kept
from hsu_jobs.errors import Fault, SpecRejected
from hsu_jobs.results import Frozen
from hsu_jobs.studies import evidence, tabulating
from hsu_jobs.studies.evidence import Evidence
from hsu_jobs.studies.table import IntervalView
from hsu_jobs.tables import Job, StudyRow


class ExamplesView(Frozen):
    """Two jobs, or two cells, on the same test examples. It answers whether new examples would show a difference."""

    first: str
    other: str
    networks: int
    """Of each side: pairs of one seed."""
    examples: int
    accuracy: float
    """Of the first, the mean over its networks, of 1."""
    accuracy_of_other: float
    difference: float
    interval: IntervalView
    """Of the difference, by the bootstrap over examples."""
    only_first_right: int
    """Answers that are right where those of the other network of its pair are wrong."""
    only_other_right: int
    p: float
    """Two-sided: of one pair McNemar's exact test, of several an exact test that swaps answers on each example."""
    verdict: str
    """What it shows and what it does not, in words."""


class StudyExamples(Frozen):
    """The cells of a study beside the baseline, on the same test examples."""

    study: int
    contrasts: list[ExamplesView]
    """Those with at least one pair of runs that keep their answers. Their p-values are not adjusted."""


def of_jobs(session: Session, first: Job, other: Job) -> ExamplesView:
    """Two jobs on the same test examples. Raises `NotFound` if one has no answers, and `SpecRejected`."""
    kept = answers.of(session, first.id), answers.of(session, other.id)
    if _test_set(first) != _test_set(other) or kept[0].count != kept[1].count:
        detail = f"jobs {first.id} and {other.id} have other test sets: their examples are not the same"
        fault = Fault(pointer="#query/other", code="other_test_set", detail=detail)
        raise SpecRejected(detail, faults=(fault,))
    pair = np.array([_bits(each) for each in kept])
    return _compared(f"job {first.id}", f"job {other.id}", pair[:1], pair[1:], level=0.95)


def of_study(session: Session, study: StudyRow) -> StudyExamples:
    """The cells of a study beside the baseline."""
    found = evidence.gather(session, study)
    jobs = {run.job_id for run in found.runs if run.is_current and run.has_succeeded and run.job_id is not None}
    kept = answers.of_all(session, jobs)
    sets = {job.id: _test_set(job) for job in session.execute(select(Job).where(Job.id.in_(kept))).scalars()}
    numbers = {label: number for number, label in found.labels.items()}
    contrasts = [
        _compared(arm, baseline, *sides, level=found.spec.confidence)
        for arm, baseline in tabulating.baselines(found).items()
        if (sides := _sides(found, numbers[arm], numbers[baseline], kept, sets))
    ]
    return StudyExamples(study=study.id, contrasts=contrasts)


def _test_set(job: Job) -> object:
    """Equal for jobs with the same test examples in the same order."""
    dataset = dict(job.spec.get("dataset") or {})
    return dataset["sha256"] if "sha256" in dataset else (job.spec.get("task"), sorted(dataset.items()))


def _sides(
    found: Evidence, cell: int, baseline: int, kept: dict[int, Kept], sets: dict[int, object]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """The answers of two cells, a row a seed that both have; None if there is none."""
    of_cell, of_baseline = (
        {run.seed: run.job_id for run in found.done(number) if run.seed is not None and run.job_id in kept}
        for number in (cell, baseline)
    )
    pairs = [(job, of_baseline[seed]) for seed, job in of_cell.items() if seed in of_baseline]
    alike: Sequence[Any] = [pair for pair in pairs if sets[pair[0]] == sets[pair[1]] == sets[pairs[0][0]]]
    if not alike:
        return None
    first, other = (np.array([_bits(kept[pair[side]]) for pair in alike]) for side in (0, 1))
    return first, other


def _bits(one: Kept) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(one.bits, np.uint8), count=one.count).astype(np.bool_)


def _compared(
    first: str, other: str, right: NDArray[np.bool_], right_of_other: NDArray[np.bool_], *, level: float
) -> ExamplesView:
    from hsu_jobs.studies import statistics

    found = statistics.compare_examples(right, right_of_other, level=level)
    interval = IntervalView(low=found.interval.low, high=found.interval.high)
    return ExamplesView(
        **found._asdict() | {"interval": interval},
        first=first,
        other=other,
        verdict=statistics.examples_verdict(found, first=first, other=other, level=level),
    )
