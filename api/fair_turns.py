"""Whose turn is it, where only so many may do something at a time? Users take turns, and none ever has all of them.

Knows users by number, and one event loop. Who waits holds nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairTurns:
    """Turns of one process: `at_once` together, of which `most_of_one` may be one user's."""

    def __init__(self, at_once: int, *, most_of_one: int) -> None:
        self._free = at_once
        self._most_of_one = most_of_one
        self._held: Counter[int] = Counter()
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        """By user, whose turn is next first."""

    @asynccontextmanager
    async def turn(self, user_id: int) -> AsyncIterator[None]:
        """Wait for this user's turn, and have it."""
        if self._free and user_id not in self._waiting and self._held[user_id] < self._most_of_one:
            self._give(user_id)
        else:
            await self._wait(user_id)
        try:
            yield
        finally:
            self._give_back(user_id)

    async def _wait(self, user_id: int) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user_id, []).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # it was given at the same moment
                self._give_back(user_id)
            raise

    def _give(self, user_id: int) -> None:
        self._held[user_id] += 1
        self._free -= 1

    def _give_back(self, user_id: int) -> None:
        """Give it to who is next; who had one comes last."""
        self._held[user_id] -= 1
        if not self._held[user_id]:
            del self._held[user_id]
        self._free += 1
        for other in list(self._waiting):
            if not self._free:
                return
            if self._held[other] < self._most_of_one:
                self._give_first_of(other)

    def _give_first_of(self, user_id: int) -> None:
        waiting = [each for each in self._waiting.pop(user_id) if not each.cancelled()]
        if waiting:
            self._give(user_id)
            waiting.pop(0).set_result(None)
        if waiting:
            self._waiting[user_id] = waiting
