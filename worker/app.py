"""The Celery app of a worker machine.

    celery -A worker.app worker      answers the doorbell and runs the jobs
    celery -A worker.app beat        rings for what nobody was told of

Every task is short: the jobs themselves run under the supervisor, which lives and dies with the worker. So no message
stays unacknowledged for hours, and CUDA is never loaded here.
"""

from __future__ import annotations

import logging
import socket
from functools import cache

from celery import bootsteps

from hsu_jobs import database, lifecycle, queries, queue
from hsu_jobs.settings import settings
from worker.devices import slots
from worker.supervisor import Supervisor

_log = logging.getLogger(__name__)
_RINGS_AT_ONCE = 100

app = queue.celery()


@cache
def supervisor() -> Supervisor:
    """The supervisor of this process."""
    return Supervisor(settings(), name=socket.gethostname(), slots=slots(settings().slots))


class SupervisorStep(bootsteps.StartStopStep):
    """The supervisor starts and stops with the worker."""

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: object) -> None:  # noqa: ARG002 - the name is Celery's
        """Begin to claim jobs."""
        supervisor().start()

    def stop(self, parent: object) -> None:  # noqa: ARG002
        """Stop the running jobs and give them back."""
        supervisor().stop()


app.steps["worker"].add(SupervisorStep)


@app.task(name=queue.RING)
def ring(_job_id: int) -> None:
    """There is work: wake an idle slot."""
    supervisor().wake()


@app.task(name=queue.SWEEP)
def sweep() -> None:
    """End attempts whose lease has run out, and ring for every job that waits."""
    with database.transaction() as session:
        lost = lifecycle.expire(session)
        waiting = session.execute(queries.runnable_ids(_RINGS_AT_ONCE)).scalars().all()
    if lost:
        _log.warning("lost the workers of jobs %s", lost)
    for job_id in waiting:
        queue.ring(job_id)
