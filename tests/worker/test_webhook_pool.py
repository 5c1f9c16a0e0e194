"""Who is called at the same time: a greedy user and a modest one, over real sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from receiving import receiver, said
from sqlalchemy import exc, func, select
from waiting import until

from hsu_jobs import database
from hsu_jobs.settings import Settings
from hsu_jobs.tables import Delivery, DeliveryState, User, Webhook
from hsu_jobs.webhooks import deliveries, subscriptions
from worker.webhook_pool import Dispatcher

Hook = Callable[..., int]


@pytest.fixture
def opened(fast: Settings) -> Settings:
    """Three threads, at most two of them for one user."""
    return fast.model_copy(
        update={
            "webhook_allow": ("127.0.0.0/8",),
            "webhook_couriers": 3,
            "webhook_couriers_per_user": 2,
            "poll": timedelta(milliseconds=50),
        }
    )


@pytest.fixture
def hook(opened: Settings) -> Hook:
    """Makes a webhook of a user's with a ping on its way."""

    def made(user: str, url: str) -> int:
        with database.transaction() as session:
            owner = session.execute(select(User).where(User.name == user)).scalar_one_or_none() or User(name=user)
            session.add(owner)
            session.flush()
            webhook = subscriptions.create(session, owner, url=url, events=["failed"], settings=opened)
            subscriptions.ping(session, webhook)
            return webhook.id

    return made


@contextmanager
def dispatching(settings: Settings) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(settings)
    dispatcher.start()
    yield dispatcher
    dispatcher.stop()


def pending() -> int:
    with database.transaction() as session:
        waiting = select(func.count()).select_from(Delivery).where(Delivery.state == DeliveryState.PENDING)
        return session.execute(waiting).scalar_one()


def couriers_of(user: str) -> int:
    with database.transaction() as session:
        held = select(func.count()).select_from(Webhook).join(User).where(User.name == user)
        return session.execute(held.where(Webhook.courier_until > func.now())).scalar_one()


def test_one_who_lets_us_wait_keeps_nobody_else_waiting(hook: Hook, opened: Settings) -> None:
    go_on = threading.Event()

    def waits(handler: BaseHTTPRequestHandler) -> None:
        go_on.wait(60)
        said(204)(handler)

    with receiver(*[waits] * 6) as greedy, receiver() as modest:
        for _ in range(6):
            hook("greedy", greedy.url)
        with dispatching(opened) as dispatcher:
            until(lambda: len(greedy.received) == 2)
            for place in range(3):  # each is brought while the greedy one's two are still waited for
                hook("modest", modest.url)
                dispatcher.wake()
                until(lambda place=place: len(modest.received) == place + 1)  # type: ignore[misc]
            assert (len(greedy.received), couriers_of("greedy")) == (2, 2)
            go_on.set()
            until(lambda: not pending())
        assert (len(greedy.received), len(modest.received)) == (6, 3)
        assert couriers_of("greedy") == couriers_of("modest") == 0


def test_nobody_needs_to_be_woken(hook: Hook, opened: Settings) -> None:
    with receiver() as there, dispatching(opened):
        until(lambda: not there.received)
        hook("ada", there.url)
        until(lambda: len(there.received) == 1)
        until(lambda: not pending())


def test_a_database_that_is_away_is_waited_for(
    hook: Hook, opened: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, left = deliveries.claim_next, [exc.OperationalError("", {}, Exception("away")), ValueError("on purpose")]

    def broken(*args: Any, **how: Any) -> Any:
        if left:
            raise left.pop(0)
        return real(*args, **how)

    monkeypatch.setattr(deliveries, "claim_next", broken)
    with receiver() as there:
        hook("ada", there.url)
        with dispatching(opened):
            until(lambda: not pending())
    assert "webhooks wait for the database" in caplog.text
    assert "on purpose" in caplog.text


def test_who_is_stopped_lets_what_is_under_way_end(hook: Hook, opened: Settings) -> None:
    go_on = threading.Event()

    def waits(handler: BaseHTTPRequestHandler) -> None:
        go_on.wait(60)
        said(204)(handler)

    with receiver(waits) as there:
        hook("ada", there.url)
        dispatcher = Dispatcher(opened.model_copy(update={"shutdown": timedelta(seconds=60)}))
        dispatcher.start()
        until(lambda: len(there.received) == 1)
        stopping = threading.Thread(target=dispatcher.stop)
        stopping.start()
        go_on.set()
        stopping.join(60)
        assert not stopping.is_alive()
    assert pending() == 0
