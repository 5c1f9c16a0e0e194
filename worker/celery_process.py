"""One of Celery's own processes: `python -m worker.celery_process worker …` or `… beat …`, with Celery's arguments.

`worker.restarts` starts and restarts it. It ends when its standard input closes, that is when its parent ends.
"""

from __future__ import annotations

import os
import sys
import threading

from worker.app import app


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    app.start(sys.argv[1:])
