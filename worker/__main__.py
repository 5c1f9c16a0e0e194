"""Run this machine's worker: `python -m worker`. Further words are Celery's, such as `--hostname`.

Any machine that reaches the database, the broker and the artifacts joins the cluster so.
"""

from __future__ import annotations

import sys

from worker.app import app, refused

WORDS = ("worker", "--pool", "threads", "--concurrency", "4", "--without-gossip", "--without-mingle")
"""Four threads answer messages, which is all that Celery does here; workers need not know of one another."""

if __name__ == "__main__":
    app.worker_main([*WORDS, *sys.argv[1:]])
    sys.exit(int(refused.is_set()))
