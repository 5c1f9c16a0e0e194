"""The Celery app of a worker machine.

    python -m worker                   answers the doorbell and runs the jobs
    celery -A worker.app beat          rings for what nobody was told of

Every task is short: the jobs themselves run under the supervisor, which lives and dies with the worker. So no message
stays unacknowledged for hours, and CUDA is never loaded here.
"""

from __future__ import annotations

import logging
import socket
import threading
from functools import cache

from celery import bootsteps, signals

from hsu_jobs import database, log_lines, names, queries, queue
from hsu_jobs.errors import NameTaken
from hsu_jobs.settings import settings
from worker import courier, devices
from worker.supervisor import Supervisor

_log = logging.getLogger(__name__)
_RINGS_AT_ONCE = 100
_COURIERS = threading.BoundedSemaphore(2)
"""Of Celery's four threads, so that a receiver that lets us wait never holds up who rings for jobs."""

refused = threading.Event()
"""Whether the name is another worker's: then `python -m worker` ends with status 1, which Celery does not hand on."""

app = queue.celery()


@cache
def supervisor() -> Supervisor:
    """The supervisor of this process."""
    name = settings().worker_name or names.of_host(socket.gethostname())
    return Supervisor(settings(), name=name, devices=devices.of_this_machine(settings()))


class SupervisorStep(bootsteps.StartStopStep):
    """The supervisor starts and stops with the worker."""

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: object) -> None:  # noqa: ARG002 - the name is Celery's
        """Begin to claim jobs; where the worker's name is another's, end the process with status 1."""
        try:
            supervisor().start()
        except NameTaken as error:
            _log.critical("this worker does not start: %s", error)
            refused.set()
            raise SystemExit(1) from error

    def stop(self, parent: object) -> None:  # noqa: ARG002
        """Stop the running jobs and give them back."""
        supervisor().stop()


app.steps["worker"].add(SupervisorStep)


@signals.setup_logging.connect(weak=False)
def _set_up_logging(**_: object) -> None:
    """In Celery's place: our own lines, with our level."""
    log_lines.set_up(settings())


@app.task(name=queue.RING)
def ring(_job_id: int) -> None:
    """There is work: look for it."""
    supervisor().wake()


@app.task(name=queue.SWEEP)
def sweep() -> None:
    """Ring for every job that waits."""
    with database.transaction() as session:
        waiting = session.execute(queries.runnable_ids(_RINGS_AT_ONCE)).scalars().all()
    for job_id in waiting:
        queue.ring(job_id)


@app.task(name=queue.CARRY)
def carry(webhook_id: int) -> None:
    """There are messages for a webhook: bring them, unless all couriers are out; then the next sweep rings again."""
    if not _COURIERS.acquire(blocking=False):
        return
    try:
        courier.carry(webhook_id, settings())
    finally:
        _COURIERS.release()


@app.task(name=queue.POST)
def post() -> None:
    """Ring for every webhook that has messages."""
    courier.ring_round()
