"""Run this machine's worker: `python -m worker`. Further words are Celery's, such as `--hostname`.

Any machine that reaches the database, the broker and the artifacts joins the cluster so.
"""

from __future__ import annotations

import sys

from hsu_jobs import log_lines
from hsu_jobs.settings import settings
from worker.app import app, supervisor
from worker.devices import NoSuchGpu

WORDS = ("worker", "--pool", "threads", "--concurrency", "4", "--without-gossip", "--without-mingle")
"""Four threads answer messages, which is all that Celery does here; workers need not know of one another."""


def main() -> None:
    """Serve until stopped. A machine without the GPUs that it is said to have does not begin."""
    log_lines.set_up(settings())
    try:
        supervisor()
    except NoSuchGpu as error:
        sys.exit(f"the worker does not start: {error}")
    app.worker_main([*WORDS, *sys.argv[1:]])


if __name__ == "__main__":
    main()
