"""Where are a job's saved states? One folder an attempt, in a folder that all machines share or in an object store.

Knows names, files and fsspec. An attempt saves into `artifacts_dir` of its own machine; `publish` puts the file where
every machine finds it, which in a shared folder it already is. Names in the database are the places within the store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fsspec.core import url_to_fs
from fsspec.spec import AbstractFileSystem

from hsu_jobs.settings import settings


def checkpoint_folder(job_id: int, attempt: int) -> Path:
    """Where an attempt saves its state: a folder of its own, so that one that was lost harms no other."""
    return settings().artifacts_dir / _folder(job_id) / f"attempt-{attempt}"


def publish(path: Path) -> str:
    """Put a saved file where all machines find it; its name there. OSError if the store does not take it."""
    name = path.relative_to(settings().artifacts_dir).as_posix()
    if store := _store():
        files, root = store
        with _answering():
            files.put_file(str(path), f"{root}/{name}")  # an object appears whole or not at all
        path.unlink(missing_ok=True)
    return name


def fetch(name: str) -> Path:
    """The file of this name, brought here if it is not. FileNotFoundError if it is gone; OSError if the store is."""
    path = settings().artifacts_dir / name
    if not settings().artifacts_dir.is_dir():
        raise OSError(f"the artifacts folder {settings().artifacts_dir} is not there: is it mounted?")
    if store := _store():
        files, root = store
        path.parent.mkdir(parents=True, exist_ok=True)
        with _answering():
            files.get_file(f"{root}/{name}", str(path))
    return path


def remove(names: Iterable[str]) -> None:
    """Remove these files, if they are there."""
    for name in names:
        (settings().artifacts_dir / name).unlink(missing_ok=True)
        if store := _store():
            files, root = store
            if files.exists(f"{root}/{name}"):
                files.rm_file(f"{root}/{name}")


def tidy(job_id: int, keep: Collection[str]) -> None:
    """Remove a job's saved states but these: before an attempt saves any, as it would not be known yet."""
    remove(name for name in [*_here(job_id), *_in_store(job_id)] if name not in keep)


@contextmanager
def _answering() -> Iterator[None]:
    """Every store has errors of its own; here they are all an OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"the store does not answer: {type(error).__name__}: {error}") from error


def _folder(job_id: int) -> str:
    return f"jobs/{job_id}"


def _here(job_id: int) -> list[str]:
    root = settings().artifacts_dir
    return [path.relative_to(root).as_posix() for path in (root / _folder(job_id)).glob("attempt-*/*.safetensors")]


def _in_store(job_id: int) -> list[str]:
    store = _store()
    if store is None:
        return []
    files, root = store
    found = files.find(f"{root}/{_folder(job_id)}")
    return [path.removeprefix(f"{root}/") for path in found]


def _store() -> tuple[AbstractFileSystem, str] | None:
    """The object store and the place within it, if there is one."""
    url = settings().artifacts_url
    return url_to_fs(url.rstrip("/")) if url else None
