"""A Redis of one's own, and the ways in which a Redis refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from waiting import until

from embedded import redis_server

SNAPSHOT = "dump.rdb"


class OwnRedis:
    """A server that no other test uses."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.url = redis_server.start(data)

    def do(self, *command: str, password: str | None = None) -> None:
        """Run one command."""
        with redis.Redis.from_url(self.url, password=password) as client:
            client.execute_command(*command)  # type: ignore[no-untyped-call]

    def info(self) -> dict[str, Any]:
        """Its state."""
        with redis.Redis.from_url(self.url) as client:
            return dict(client.info())

    def stop(self) -> None:
        """Stop it; what it holds is on the disk."""
        redis_server.stop(self.data)

    def start(self) -> None:
        """Start it again."""
        redis_server.start(self.data)


Way = tuple[Callable[[OwnRedis], None], Callable[[OwnRedis], None]]
"""Begins to refuse, and takes everything again."""


def _read_only(server: OwnRedis) -> None:
    server.do("REPLICAOF", "127.0.0.1", "1")


def _master_down(server: OwnRedis) -> None:
    server.do("CONFIG", "SET", "replica-serve-stale-data", "no")
    server.do("REPLICAOF", "127.0.0.1", "1")


def _writable(server: OwnRedis) -> None:
    server.do("REPLICAOF", "NO", "ONE")
    server.do("CONFIG", "SET", "replica-serve-stale-data", "yes")


def _full(server: OwnRedis) -> None:
    server.do("CONFIG", "SET", "maxmemory", "1")


def _roomy(server: OwnRedis) -> None:
    server.do("CONFIG", "SET", "maxmemory", "0")


def _closed(server: OwnRedis) -> None:
    server.do("CONFIG", "SET", "requirepass", "other")
    server.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", password="other")


def _open(server: OwnRedis) -> None:
    server.do("CONFIG", "SET", "requirepass", "", password="other")


def _unsaved(server: OwnRedis) -> None:
    """A snapshot cannot take its name, and from then on Redis takes no writes."""
    (server.data / SNAPSHOT / "in the way").mkdir(parents=True)
    server.do("CONFIG", "SET", "save", "3600 1")
    server.do("BGSAVE")
    until(lambda: server.info()["rdb_last_bgsave_status"] == "err")


def _saved(server: OwnRedis) -> None:
    server.do("CONFIG", "SET", "save", "")
    shutil.rmtree(server.data / SNAPSHOT)


def _lonely(server: OwnRedis) -> None:
    server.do("CONFIG", "SET", "min-replicas-to-write", "1")


def _content(server: OwnRedis) -> None:
    server.do("CONFIG", "SET", "min-replicas-to-write", "0")


WAYS: dict[str, Way] = {
    "READONLY": (_read_only, _writable),
    "MASTERDOWN": (_master_down, _writable),
    "OOM": (_full, _roomy),
    "MISCONF": (_unsaved, _saved),
    "NOAUTH": (_closed, _open),
    "NOREPLICAS": (_lonely, _content),
    "away": (OwnRedis.stop, OwnRedis.start),
}
