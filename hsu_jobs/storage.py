"""Where is what a job leaves behind? One folder an attempt, under the artifacts folder that all machines share."""

from __future__ import annotations

from pathlib import Path

from hsu_jobs.settings import settings


def attempt_folder(job_id: int, attempt: int) -> Path:
    """The folder of one attempt, made if it is not there."""
    folder = settings().artifacts_dir / "jobs" / str(job_id) / f"attempt-{attempt}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def log_file(job_id: int, attempt: int) -> Path:
    """What an attempt's runner printed."""
    return attempt_folder(job_id, attempt) / "log.txt"


def checkpoint_folder(job_id: int, attempt: int) -> Path:
    """Where an attempt saves its state."""
    return attempt_folder(job_id, attempt) / "checkpoint"
