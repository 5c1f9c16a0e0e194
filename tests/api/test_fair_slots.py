"""Turns: who is next, and that none is lost."""

from __future__ import annotations

import asyncio

import pytest

from api.fair_slots import FairSlots


def test_users_take_turns_and_one_never_has_all() -> None:
    async def run() -> tuple[list[str], int]:
        slots, order, at_once, most = FairSlots(2, most_of_one=1), [], 0, 0
        go = asyncio.Event()

        async def read(user_id: int, name: str) -> None:
            nonlocal at_once, most
            async with slots.slot(user_id):
                order.append(name)
                at_once += 1
                most = max(most, at_once)
                await go.wait()
                await asyncio.sleep(0)
                at_once -= 1

        greedy = [asyncio.create_task(read(1, f"greedy {n}")) for n in range(5)]
        await asyncio.sleep(0)
        assert order == ["greedy 0"], "one user has one turn at a time"
        modest = [asyncio.create_task(read(user_id, f"modest {user_id}")) for user_id in (2, 3)]
        await asyncio.sleep(0)
        assert order == ["greedy 0", "modest 2"]
        go.set()
        await asyncio.gather(*greedy, *modest)
        async with slots.slot(1), slots.slot(2):
            pass
        return order, most

    order, most = asyncio.run(run())
    assert most <= 2
    assert order.index("modest 3") <= 3, "who comes last waits for one turn of another, not for all five"
    assert [name for name in order if "greedy" in name] == [f"greedy {n}" for n in range(5)]


def test_who_stops_waiting_takes_no_turn_and_loses_none() -> None:
    async def run() -> None:
        slots = FairSlots(1, most_of_one=1)

        async def read(user_id: int) -> None:
            async with slots.slot(user_id):
                await asyncio.sleep(0)

        async with slots.slot(1):
            waiting = [asyncio.create_task(read(user_id)) for user_id in (2, 2, 3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            waiting[2].cancel()
        await waiting[1]
        for task in (waiting[0], waiting[2]):
            with pytest.raises(asyncio.CancelledError):
                await task
        await asyncio.wait_for(read(4), timeout=10)

    asyncio.run(run())


def test_one_user_has_no_more_than_their_part_and_another_finds_a_place() -> None:
    async def run() -> None:
        slots, go, held = FairSlots(3, most_of_one=2), asyncio.Event(), []

        async def hold(user_id: int) -> None:
            async with slots.slot(user_id):
                held.append(user_id)
                await go.wait()

        many = [asyncio.create_task(hold(1)) for _ in range(9)]
        await asyncio.sleep(0)
        assert held == [1, 1]
        other = asyncio.create_task(hold(2))
        await asyncio.sleep(0)
        assert held == [1, 1, 2]
        go.set()
        await asyncio.wait_for(asyncio.gather(*many, other), timeout=30)
        assert sorted(held) == [1] * 9 + [2]

    asyncio.run(run())


def test_a_turn_that_is_given_to_one_who_leaves_at_that_moment_goes_on() -> None:
    async def run() -> None:
        slots = FairSlots(1, most_of_one=1)

        async def hold(user_id: int) -> None:
            async with slots.slot(user_id):
                await asyncio.sleep(0)

        async with slots.slot(1):
            leaving = asyncio.create_task(hold(2))
            await asyncio.sleep(0)
        leaving.cancel()  # after it was given the turn, before it ran
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await asyncio.wait_for(hold(3), timeout=30)

    asyncio.run(run())
