"""Run this machine's worker: `python -m worker`. Further arguments go to Celery, such as `--hostname`.

This is how any machine that reaches the database, the broker and the artifacts joins the cluster. This process runs the
jobs. A Celery worker in a process of its own receives the messages from Redis. If it ends, it is started again; the
jobs do not depend on it (decision record 31).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time

from hsu_jobs import database, log_format, names, plugin_log
from hsu_jobs.errors import NameTaken
from hsu_jobs.settings import BadSettings, Settings, settings, unknown
from worker.dataset_pool import Converter
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
"""Celery only answers messages here, for which four threads are enough; workers need no contact with each other."""
TO_STOP = 12.0
"""Seconds that the Celery worker has to end: a message that is being sent to a webhook may take ten."""


def run(settings: Settings, devices: Devices, words: list[str]) -> None:
    """Run the jobs, call the webhooks, convert data sets, and receive messages from Redis, until a signal comes."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    name = settings.worker_name or names.of_host(socket.gethostname())
    supervisor = Supervisor(settings, name=name, devices=devices)
    dispatcher, converter = Dispatcher(settings), Converter(settings)
    doorbell = Doorbell(lambda: _wake(supervisor, dispatcher, converter))
    environment = dict(os.environ) | doorbell.environment
    listener = Restarted("the Celery worker", [*COMMAND, *words], environment=environment, inherited=[doorbell.button])
    supervisor.start()
    dispatcher.start()
    converter.start()
    listener.start()
    stop.wait()
    began = time.monotonic()
    listener.ask_to_stop()
    others = [threading.Thread(target=each.stop, name="last calls") for each in (dispatcher, converter)]
    for each in others:
        each.start()  # while the jobs end: together they take no longer than one of them
    supervisor.stop()
    for each in others:
        each.join()
    listener.stop(began + TO_STOP - time.monotonic())


def _wake(supervisor: Supervisor, dispatcher: Dispatcher, converter: Converter) -> None:
    """A message does not say which of the three it is for; an unnecessary look costs a query or two."""
    supervisor.wake()
    dispatcher.wake()
    converter.wake()


def main() -> None:
    """Run until stopped.

    Does not start with invalid settings, without the GPUs that CUDA_VISIBLE_DEVICES names, or under the name of a live
    worker.
    """
    try:
        log_format.set_up(settings())
        for fault in unknown():
            _log.warning(fault)
        plugin_log.report(_log)
        devices = of_this_machine(settings())
        database.require_address()
        run(settings(), devices, sys.argv[1:])
    except (BadSettings, NoSuchGpu, NameTaken) as error:
        sys.exit(f"the worker does not start: {error}")


if __name__ == "__main__":
    main()
