"""The runners that this process has started, how far they are with a job, and a job that keeps them busy."""

from __future__ import annotations

from contextlib import suppress

import psutil

from hsu_jobs.tables import Job

STARTING = 300
"""Seconds in which a runner must have started: it imports torch."""
LONG = {"duration": {"steps": 10**6}, "record": {"every": 20, "measures": ["mhe_s2"]}}


def runners() -> list[psutil.Process]:
    """Those that live; not those of a service that other tests have up."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # it may end while it is looked at
            if child.status() != psutil.STATUS_ZOMBIE and "worker.runner" in child.cmdline():
                found.append(child)
    return found


def steps(job: Job) -> list[int]:
    return [attempt.step for attempt in job.attempts]
