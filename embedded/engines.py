"""Bring up the two engines that the service needs, PostgreSQL and Redis, with all their data in one folder.

    FOLDER/postgres   PostgreSQL's cluster, its socket and its log
    FOLDER/redis      Redis' append-only file, its socket and its log

A server that a killed run left up is adopted. Servers that run elsewhere are used when their URLs are given.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from embedded import postgres, redis_server

POSTGRES = "PostgreSQL"
REDIS = "Redis"


@dataclass(frozen=True)
class Engines:
    """Where PostgreSQL (as SQLAlchemy writes it) and Redis (as redis-py writes it) answer."""

    database_url: str
    redis_url: str


def start(
    folder: Path, *, database_url: str | None = None, redis_url: str | None = None, durable: bool = True
) -> Engines:
    """Both engines, started in `folder` unless given by URL. `durable=False` is for tests."""
    prepare(folder)
    with _alone(folder):
        return Engines(
            database_url=database_url or postgres.start(folder.resolve() / "postgres", durable=durable),
            redis_url=redis_url or redis_server.start(folder.resolve() / "redis", durable=durable),
        )


def processes_of(folder: Path) -> dict[str, psutil.Process]:
    """The servers that run in `folder`, by the engine's name."""
    found = {
        POSTGRES: postgres.running(folder.resolve() / "postgres"),
        REDIS: redis_server.running(folder.resolve() / "redis"),
    }
    return {name: process for name, process in found.items() if process is not None}


def log_of(folder: Path, name: str) -> Path:
    """Where an engine writes its log."""
    return folder / {POSTGRES: "postgres", REDIS: "redis"}[name] / "log"


def stop(folder: Path) -> bool:
    """Stop whichever engine runs in `folder`; whether one did. The data stay."""
    if not folder.is_dir():
        return False
    with _alone(folder):
        stopped = [redis_server.stop(folder.resolve() / "redis"), postgres.stop(folder.resolve() / "postgres")]
    return any(stopped)


def prepare(folder: Path) -> None:
    """Make the folder, private: as root others may pass through, since PostgreSQL runs as a user of its own."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True)
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One start or stop at a time, whichever process asks."""
    with (folder / "engines.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
