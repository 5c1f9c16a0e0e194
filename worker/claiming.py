"""Which job does this worker take next? The first in the queue that it can start.

A job whose stored spec this version cannot read is skipped: a worker of another version may run it, and the jobs behind
it are started here. A queued job that was given a live attempt by hand is skipped too. Each is checked again once a
minute, since its row may have been repaired.
"""

from __future__ import annotations

import time

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from hsu_jobs import attempts, database, queries, row_failures
from hsu_jobs.attempts import Claim
from hsu_jobs.cluster.claiming import Room
from hsu_jobs.errors import SpecNotReadable
from hsu_jobs.settings import Settings
from hsu_jobs.spec import is_readable
from hsu_jobs.tables import Job

LOOK_AGAIN = 60.0
"""Seconds after which the skipped jobs are checked again."""


class Claims:
    """What a worker claims, and what it leaves to other workers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._passed_over: set[int] = set()
        self._looked = time.monotonic()

    def next(self, room: Room) -> Claim | None:
        """Claim the next job that this worker can start; None if there is none."""
        if time.monotonic() - self._looked > LOOK_AGAIN:
            self.look_again()
        while True:
            try:
                with database.transaction() as session:
                    among = room._replace(passed_over=tuple(self._passed_over))
                    return attempts.claim(session, among, self._settings)
            except SpecNotReadable as error:
                if error.job_id is None:
                    raise
                self._pass_over({error.job_id}, error)
            except IntegrityError as error:
                contradictory = self._contradictory() - self._passed_over
                if not contradictory:
                    raise
                self._pass_over(contradictory, error)

    def look_again(self) -> None:
        """Forget the skipped jobs that can be started now, or that no longer need to be started."""
        self._looked = time.monotonic()
        if not self._passed_over:
            return
        with database.transaction() as session:
            waiting = session.execute(
                select(Job.id, Job.spec).where(Job.id.in_(self._passed_over), queries.IS_RUNNABLE)
            )
            unreadable = {job_id for job_id, spec in waiting if not is_readable(spec)}
        self._passed_over &= unreadable | self._contradictory()

    def _pass_over(self, job_ids: set[int], why: Exception) -> None:
        for job_id in job_ids:
            row_failures.note("claims", f"job {job_id}", why)
        self._passed_over |= job_ids

    def _contradictory(self) -> set[int]:
        with database.transaction() as session:
            return set(session.execute(queries.queued_with_live_attempt()).scalars())
