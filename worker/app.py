"""What does a worker machine do with each Celery message?

    python -m worker                   runs the jobs, with a Celery worker beside it that answers the doorbell
    python -m worker.beat              sends messages for work whose message was lost

Every task is short: the jobs run under the supervisor, in the process that started this one. So no message stays
unacknowledged for hours, and CUDA is never loaded here.
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
    """Replace Celery's logging by our own format and level."""
    log_format.set_up(settings())
    for name in ("celery.beat", "celery.worker.consumer.consumer"):
        logging.getLogger(name).addFilter(_Brief())


class _Brief(logging.Filter):
    """Limits repeated log lines and drops their traces: Celery tries a Redis that is away several times a second.

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
    """Wake the supervisor: there is work."""
    wakeup_pipe.press()


@app.task(name=doorbell.SWEEP)
def sweep() -> None:
    """Send a doorbell message for every job that waits."""
    with database.transaction() as session:
        waiting = session.execute(queries.runnable_ids(_RINGS_AT_ONCE)).scalars().all()
    for job_id in waiting:
        doorbell.ring(job_id)


@app.task(name=doorbell.CARRY)
def carry(_webhook_id: int) -> None:
    """Wake the dispatcher, which chooses the next webhook: there are messages for a webhook."""
    wakeup_pipe.press()


@app.task(name=doorbell.POST)
def post() -> None:
    """Send a doorbell message for every webhook that has messages."""
    webhook_sender.ring_for_all()
