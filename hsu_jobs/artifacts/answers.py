"""Which test examples did a job's network classify right? One bit each, kept beside its result.

Knows rows. Knows no data set: the order is that of its test set, so that equal places of two jobs on the same data set
are the same example.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from hsu_jobs.errors import NotFound
from hsu_jobs.results import Answers
from hsu_jobs.tables import AnswersRow


@dataclass(frozen=True)
class Kept:
    """The answers of one job."""

    count: int
    """The examples of the test set."""
    bits: bytes
    """One bit each, in the order of the test set: the most significant bit of a byte first, padded with zeros."""

    def right(self) -> list[bool]:
        """Whether each example was classified right."""
        return [bool(self.bits[place // 8] >> (7 - place % 8) & 1) for place in range(self.count)]


def keep(session: Session, job_id: int, answers: Answers) -> None:
    """Keep the answers of a job that succeeded, in place of earlier ones."""
    content = {"count": answers.count, "bits": answers.bits}
    row = insert(AnswersRow).values(job_id=job_id, **content)
    session.execute(row.on_conflict_do_update(index_elements=[AnswersRow.job_id], set_=content))


def of(session: Session, job_id: int) -> Kept:
    """The answers of a job. Raises `NotFound` if it has none: it has not succeeded, or its task does not classify."""
    found = of_all(session, [job_id])
    if job_id not in found:
        raise NotFound(
            f"job {job_id} has no answers: it has not succeeded, its task does not classify, or it ended before they "
            "were kept"
        )
    return found[job_id]


def of_all(session: Session, job_ids: Collection[int]) -> dict[int, Kept]:
    """The answers of jobs, by id; those without any are left out."""
    rows = select(AnswersRow.job_id, AnswersRow.count, AnswersRow.bits).where(AnswersRow.job_id.in_(job_ids))
    return {job_id: Kept(count, bits) for job_id, count, bits in session.execute(rows)}
