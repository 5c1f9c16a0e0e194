"""The runners that a process has started, how far they are with a job, and a job that keeps them busy."""

from __future__ import annotations

import psutil

from hsu_jobs.tables import Job

STARTING = 300
"""Seconds in which a runner must have started: it imports torch."""
LONG = {"duration": {"steps": 10**6}, "record": {"every": 20, "measures": ["mhe_s2"]}}


def runners(of: int | None = None) -> list[psutil.Process]:
    """Those of a worker that live; without a process id, of this process, and not of a service that it has up."""
    children = psutil.Process(of).children()
    forked = [child for server in children if _runs(server, "worker.fork_server") for child in server.children()]
    return [process for process in children + forked if is_runner(process)]


def is_runner(process: psutil.Process) -> bool:
    """Whether it lives and trains, or is ready to."""
    if _runs(process, "worker.runner"):
        return True
    parent = process.parent() if _runs(process, "worker.fork_server") else None
    return parent is not None and _runs(parent, "worker.fork_server")


def _runs(process: psutil.Process, module: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and module in process.cmdline()
    except psutil.Error:  # it may end while it is looked at
        return False


def steps(job: Job) -> list[int]:
    return [attempt.step for attempt in job.attempts]
