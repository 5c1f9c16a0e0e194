"""The Celery app of a worker machine.

    python -m worker                   answers the doorbell and runs the jobs
    celery -A worker.app beat          rings for what nobody was told of

Every task is short: the jobs themselves run under the supervisor, which lives and dies with the worker. So no message
stays unacknowledged for hours, and CUDA is never loaded here.
"""

from __future__ import annotations

import socket
from functools import cache

from celery import bootsteps, signals

from hsu_jobs import database, log_lines, queries, queue
from hsu_jobs.settings import settings
from worker import courier, devices
from worker.supervisor import Supervisor
from worker.webhook_dispatch import Dispatcher

_RINGS_AT_ONCE = 100

app = queue.celery()


@cache
def supervisor() -> Supervisor:
    """The supervisor of this process."""
    name = settings().worker_name or socket.gethostname()
    return Supervisor(settings(), name=name, devices=devices.of_this_machine(settings()))


@cache
def dispatcher() -> Dispatcher:
    """What calls webhooks, in this process."""
    return Dispatcher(settings())


class SupervisorStep(bootsteps.StartStopStep):
    """The supervisor starts and stops with the worker."""

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: object) -> None:  # noqa: ARG002 - the name is Celery's
        """Begin to claim jobs."""
        supervisor().start()

    def stop(self, parent: object) -> None:  # noqa: ARG002
        """Stop the running jobs and give them back."""
        supervisor().stop()


class DispatcherStep(bootsteps.StartStopStep):
    """The dispatcher of webhooks starts and stops with the worker."""

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: object) -> None:  # noqa: ARG002
        """Begin to call webhooks."""
        dispatcher().start()

    def stop(self, parent: object) -> None:  # noqa: ARG002
        """Begin no more, and wait a little for those under way."""
        dispatcher().stop()


app.steps["worker"].add(SupervisorStep)
app.steps["worker"].add(DispatcherStep)


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
def carry(_webhook_id: int) -> None:
    """There are messages for a webhook: look whose turn it is."""
    dispatcher().wake()


@app.task(name=queue.POST)
def post() -> None:
    """Ring for every webhook that has messages."""
    courier.ring_round()
