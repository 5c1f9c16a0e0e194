"""Where is what a job leaves behind? One folder an attempt, under the artifacts folder that all machines share."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from hsu_jobs.settings import settings


def job_folder(job_id: int) -> Path:
    """The folder of one job."""
    return settings().artifacts_dir / "jobs" / str(job_id)


def checkpoint_folder(job_id: int, attempt: int) -> Path:
    """Where an attempt saves its state: a folder of its own, so that one that was lost harms no other."""
    return job_folder(job_id) / f"attempt-{attempt}"


def named(path: Path) -> str:
    """A file's name in the database: its place within the artifacts folder."""
    return path.relative_to(settings().artifacts_dir).as_posix()


def file(name: str) -> Path:
    """The file of this name."""
    return settings().artifacts_dir / name


def remove(names: Iterable[str]) -> None:
    """Remove these files, if they are there."""
    for name in names:
        file(name).unlink(missing_ok=True)


def tidy(job_id: int, keep: Collection[str]) -> None:
    """Remove a job's saved states but these: before an attempt saves any, as it would not be known yet."""
    for path in job_folder(job_id).glob("attempt-*/*.safetensors"):
        if named(path) not in keep:
            path.unlink(missing_ok=True)
