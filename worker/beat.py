"""Send messages now and then for work whose message was lost: `python -m worker.beat`. Arguments go to Celery's beat.

Beat runs in a process of its own, which is started again when Redis or Celery has ended it (decision record 31).
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from hsu_jobs import log_format
from hsu_jobs.settings import BadSettings, settings
from worker.restarts import Restarted

COMMAND = (sys.executable, "-m", "worker.celery_process", "beat", "--pidfile", "")
TO_STOP = 5.0
"""Seconds."""


def main() -> None:
    """Run it until a signal comes. Does not start with invalid settings."""
    try:
        log_format.set_up(settings())
    except BadSettings as error:
        sys.exit(f"beat does not start: {error}")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    beat = Restarted("beat", [*COMMAND, *sys.argv[1:]], environment=os.environ)
    beat.start()
    stop.wait()
    beat.stop(TO_STOP)


if __name__ == "__main__":
    main()
