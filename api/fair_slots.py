"""Who gets the next slot, where only a few requests may do something at a time? Users alternate; none takes all slots.

Knows users by number. A waiting request holds nothing. One event loop is usual; several, as in tests, work too.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairSlots:
    """The slots of one process: `at_once` in all, at most `most_of_one` for one user."""

    def __init__(self, at_once: int, *, most_of_one: int) -> None:
        self._free = at_once
        self._most_of_one = most_of_one
        self._lock = threading.Lock()
        self._held: Counter[int] = Counter()
        self._waiting: dict[int, list[_Waiter]] = {}
        """By user; the user who is next comes first."""

    @asynccontextmanager
    async def slot(self, user_id: int) -> AsyncIterator[None]:
        """Wait for a slot for this user, and hold it."""
        with self._lock:
            waiter = self._queued(user_id)
        if waiter is not None:
            await self._wait(user_id, waiter)
        try:
            yield
        finally:
            with self._lock:
                self._give_back(user_id)

    def _queued(self, user_id: int) -> _Waiter | None:
        """A waiter in the queue; None if a slot is free at once."""
        if self._free and user_id not in self._waiting and self._held[user_id] < self._most_of_one:
            self._give(user_id)
            return None
        waiter = _Waiter(asyncio.get_running_loop().create_future())
        self._waiting.setdefault(user_id, []).append(waiter)
        return waiter

    async def _wait(self, user_id: int, waiter: _Waiter) -> None:
        try:
            await waiter.called
        except asyncio.CancelledError:
            with self._lock:
                waiter.is_left = True
                if waiter.is_given:  # at the same moment
                    self._give_back(user_id)
            raise

    def _give(self, user_id: int) -> None:
        self._held[user_id] += 1
        self._free -= 1

    def _give_back(self, user_id: int) -> None:
        """Give the slot to the next user; this user goes to the end."""
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
        waiting = [waiter for waiter in self._waiting.pop(user_id) if not waiter.is_left]
        if waiting:
            self._give(user_id)
            waiting.pop(0).call()
        if waiting:
            self._waiting[user_id] = waiting


class _Waiter:
    """A request that waits for a slot."""

    def __init__(self, called: asyncio.Future[None]) -> None:
        self.called = called
        self.is_given = False
        self.is_left = False

    def call(self) -> None:
        """Give the slot to this waiter, in its own event loop."""
        self.is_given = True
        self.called.get_loop().call_soon_threadsafe(self._set_result)

    def _set_result(self) -> None:
        if not self.called.done():
            self.called.set_result(None)
