"""Run this machine's worker: `python -m worker`. Further words are Celery's, such as `--hostname`.

Any machine that reaches the database, the broker and the artifacts joins the cluster so. This process runs the jobs;
what Redis says is heard by a Celery worker in a process of its own, which may end as often as it likes: it is started
again, and the jobs neither need it nor notice (decision record 31).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time

from hsu_jobs import database, log_format, names
from hsu_jobs.errors import NameTaken
from hsu_jobs.settings import BadSettings, Settings, settings, unknown
from worker.devices import Devices, NoSuchGpu, of_this_machine
from worker.restarts import Restarted
from worker.supervisor import Supervisor
from worker.wakeup_pipe import Doorbell
from worker.webhook_pool import Dispatcher

_log = logging.getLogger(__name__)
COMMAND = (
    *(sys.executable, "-m", "worker.celery_process"),
    *("worker", "--pool", "threads", "--concurrency", "4", "--without-gossip", "--without-mingle"),
)
"""Four threads answer messages, which is all that Celery does here; workers need not know of one another."""
TO_STOP = 12.0
"""Seconds in which the Celery worker ends: a message to a webhook that is under way may take ten."""


def run(settings: Settings, devices: Devices, words: list[str]) -> None:
    """Run the jobs, call the webhooks, and hear what Redis says, until a signal comes."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    name = settings.worker_name or names.of_host(socket.gethostname())
    supervisor = Supervisor(settings, name=name, devices=devices)
    dispatcher = Dispatcher(settings)
    doorbell = Doorbell(lambda: _wake(supervisor, dispatcher))
    environment = dict(os.environ) | doorbell.environment
    listener = Restarted("the Celery worker", [*COMMAND, *words], environment=environment, inherited=[doorbell.button])
    supervisor.start()
    dispatcher.start()
    listener.start()
    stop.wait()
    began = time.monotonic()
    listener.ask_to_stop()
    calls = threading.Thread(target=dispatcher.stop, name="last calls")
    calls.start()  # beside the jobs' end: together they take no longer than one of them
    supervisor.stop()
    calls.join()
    listener.stop(began + TO_STOP - time.monotonic())


def _wake(supervisor: Supervisor, dispatcher: Dispatcher) -> None:
    """A ring does not say for whom it is; a look in vain costs a query."""
    supervisor.wake()
    dispatcher.wake()


def main() -> None:
    """Serve until stopped.

    Does not begin with settings that cannot be meant, without the GPUs that it is said to have, or under the name of a
    worker that lives.
    """
    try:
        log_format.set_up(settings())
        for fault in unknown():
            _log.warning(fault)
        devices = of_this_machine(settings())
        database.require_address()
        run(settings(), devices, sys.argv[1:])
    except (BadSettings, NoSuchGpu, NameTaken) as error:
        sys.exit(f"the worker does not start: {error}")


if __name__ == "__main__":
    main()
