"""Wakeups by themselves, in this process."""

from __future__ import annotations

import asyncio
import time

from api.streams.wakeups import Wakeups


def test_a_server_that_stops_while_it_still_connects_stops() -> None:
    async def start_and_stop(pause: float) -> None:
        async with Wakeups().listening():
            await asyncio.sleep(pause)

    for number in range(60):
        asyncio.run(asyncio.wait_for(start_and_stop(number / 10_000), 20))


def test_requests_at_one_position_share_a_read_until_the_next_wakeup() -> None:
    async def watch() -> None:
        wakeups, looks = Wakeups(), []

        def look() -> int:
            looks.append(time.monotonic())
            return len(looks)

        async def watcher() -> list[int]:
            return [await subscription.read("place", look) async for subscription in wakeups.changes(7, seconds=0.6)]

        watchers = [asyncio.create_task(watcher()) for _ in range(20)]
        await asyncio.sleep(0.3)
        wakeups.wake(8)
        wakeups.wake(7)
        found = await asyncio.gather(*watchers)
        assert {tuple(each[:2]) for each in found} == {(1, 2)}
        assert len(looks) < 10

    asyncio.run(watch())
