"""Bring up the two engines that the service needs, PostgreSQL and Redis, with all their data in one folder.

    FOLDER/postgres   PostgreSQL's cluster, its socket and its log
    FOLDER/redis      Redis' append-only file, its socket and its log

A server that a killed run left running is adopted. Servers elsewhere are used when their URLs are given.
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
    """The URLs of PostgreSQL (in SQLAlchemy's form) and Redis (in redis-py's form)."""

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
    """The file of an engine's log."""
    return folder / {POSTGRES: "postgres", REDIS: "redis"}[name] / "log"


def stop(folder: Path) -> bool:
    """Stop the engines that run in `folder`; returns whether one ran. The data stay."""
    if not folder.is_dir():
        return False
    with _alone(folder):
        stopped = [redis_server.stop(folder.resolve() / "redis"), postgres.stop(folder.resolve() / "postgres")]
    return any(stopped)


def prepare(folder: Path) -> None:
    """Make a private folder: for root, other users may pass through it, since PostgreSQL runs as its own user."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True)
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Allow one start or stop at a time among all processes."""
    with (folder / "engines.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
