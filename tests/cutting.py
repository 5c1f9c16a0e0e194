"""Connections to Redis are cut: those of one numbered database, since others use the same server."""

from __future__ import annotations

from typing import Literal

from redis import Redis


def cut(redis: Redis, kind: Literal["normal", "pubsub"]) -> None:
    """End every other connection of this kind to the database that `redis` is connected to."""
    number = str(redis.connection_pool.connection_kwargs.get("db", 0))
    for client in redis.client_list(_type=kind):
        if client["db"] == number:
            redis.client_kill_filter(_id=client["id"])
