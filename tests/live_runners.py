"""The runners that this process has started, how far they are with a job, and a job that keeps them busy."""

from __future__ import annotations

import psutil

from hsu_jobs.tables import Job

STARTING = 300
"""Seconds in which a runner must have started: it imports torch."""
LONG = {"duration": {"steps": 10**6}, "record": {"every": 20, "measures": ["mhe_s2"]}}


def runners() -> list[psutil.Process]:
    children = psutil.Process().children()  # not those of a service that other tests have up
    alive = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in alive if "worker.runner" in child.cmdline()]


def steps(job: Job) -> list[int]:
    return [attempt.step for attempt in job.attempts]
