"""The Celery app of a worker machine: what is done with each message.

    python -m worker                   runs the jobs, with a Celery worker beside it that answers the doorbell
    python -m worker.beat              rings for what nobody was told of

Every task is short: the jobs themselves run under the supervisor, in the process that started this one. So no message
stays unacknowledged for hours, and CUDA is never loaded here.
"""

from __future__ import annotations

import logging
import time

from celery import signals

from hsu_jobs import database, doorbell, log_format, queries
from hsu_jobs.settings import settings
from worker import wakeup_pipe, webhook_sender

_log = logging.getLogger(__name__)
_RINGS_AT_ONCE = 100

app = doorbell.celery()


@signals.setup_logging.connect(weak=False)
def _set_up_logging(**_: object) -> None:
    """In Celery's place: our own lines, with our level."""
    log_format.set_up(settings())
    for name in ("celery.beat", "celery.worker.consumer.consumer"):
        logging.getLogger(name).addFilter(_Brief())


class _Brief(logging.Filter):
    """Says the same thing once in a while, without its trace: Celery tries a Redis that is away several times a second.

    A day without Redis would be 300 MB of log.
    """

    REST = 30.0
    """Seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written."""
        if record.levelno < logging.WARNING:
            return True
        now = time.monotonic()
        if now < self._said.get(record.msg, 0.0):
            return False
        self._said[record.msg] = now + self.REST
        first_line = record.getMessage().strip().splitlines()[0]
        record.msg, record.args, record.exc_info = "%s", (first_line,), None
        return True


@app.task(name=doorbell.RING)
def ring(_job_id: int) -> None:
    """There is work: let the supervisor look for it."""
    wakeup_pipe.press()


@app.task(name=doorbell.SWEEP)
def sweep() -> None:
    """Ring for every job that waits."""
    with database.transaction() as session:
        waiting = session.execute(queries.runnable_ids(_RINGS_AT_ONCE)).scalars().all()
    for job_id in waiting:
        doorbell.ring(job_id)


@app.task(name=doorbell.CARRY)
def carry(_webhook_id: int) -> None:
    """There are messages for a webhook: let the dispatcher look whose turn it is."""
    wakeup_pipe.press()


@app.task(name=doorbell.POST)
def post() -> None:
    """Ring for every webhook that has messages."""
    webhook_sender.ring_for_all()
