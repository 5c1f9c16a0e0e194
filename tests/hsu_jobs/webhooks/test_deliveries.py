"""Messages on their way: whose turn it is, what becomes of them, when they are tried again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sending import claim
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from hsu_jobs import database, lifecycle
from hsu_jobs.settings import Settings
from hsu_jobs.tables import Delivery, DeliveryState, Job, User, Webhook
from hsu_jobs.webhooks import deliveries, subscriptions
from hsu_jobs.webhooks.deliveries import Answer, Batch

OPEN = Settings(webhook_allow=("127.0.0.0/8",))
TAKEN, BUSY, GONE = Answer(204), Answer(500, "it answered 500", "oh no"), Answer(410, "it answered 410")
AWAY = Answer(None, "ConnectError: [Errno 111] Connection refused")

Pass = Callable[[float], None]


@pytest.fixture
def hook(session: Session, owner: User) -> Webhook:
    return subscriptions.create(session, owner, url="http://127.0.0.1:9000/", events=["submitted"], settings=OPEN)


@pytest.fixture
def passing(session: Session) -> Pass:
    """Lets seconds pass for webhooks and their messages."""

    def passed(seconds: float) -> None:
        session.flush()
        for table in (Webhook, Delivery):
            times = [column for column in table.__table__.columns if isinstance(column.type.python_type, type)]
            names = [column.name for column in times if column.name.endswith(("_at", "_until"))]
            earlier = {name: getattr(table, name) - timedelta(seconds=seconds) for name in names}
            session.execute(update(table).values(earlier).execution_options(synchronize_session=False))
        session.expire_all()

    return passed


def taken(session: Session, hook: Webhook) -> Batch:
    turn = claim(session, hook.id)
    assert turn is not None
    return turn


def attempt(session: Session, hook: Webhook, *answers: Answer, settings: Settings = OPEN) -> list[bool]:
    """One turn in which the receiver answers so, until the courier may not go on; whether it might, each time."""
    turn, went_on = taken(session, hook), [True]
    for message, answer in zip(turn.messages, answers, strict=False):
        if went_on[-1]:
            went_on.append(deliveries.settle(session, turn, message, answer, settings))
    deliveries.finish(session, turn)
    session.flush()
    return went_on[1:]


def messages_of(session: Session, hook: Webhook) -> list[Delivery]:
    chosen = select(Delivery).where(Delivery.webhook_id == hook.id).order_by(Delivery.id)
    return list(session.execute(chosen).scalars())


def now(session: Session) -> Any:
    return session.execute(select(func.now())).scalar_one()


def test_what_is_taken_is_delivered_once_the_oldest_first(
    session: Session, owner: User, hook: Webhook, submit: Callable[..., Job]
) -> None:
    for _ in range(3):
        submit(owner)
    session.flush()
    assert deliveries.due(session) == [hook.id]
    turn = taken(session, hook)
    assert [message.delivery_id for message in turn.messages] == [each.id for each in messages_of(session, hook)]
    assert [deliveries.settle(session, turn, message, TAKEN, OPEN) for message in turn.messages] == [True] * 3
    deliveries.finish(session, turn)
    assert deliveries.due(session) == []
    assert claim(session, hook.id) is None
    for each in messages_of(session, hook):
        assert (each.state, each.attempts, each.status, each.error) == (DeliveryState.DELIVERED, 1, 204, None)
        assert each.delivered_at == each.attempted_at == now(session)


def test_a_message_that_fails_is_tried_again_at_growing_distances_for_about_a_day(
    session: Session, hook: Webhook, passing: Pass
) -> None:
    delivery = subscriptions.ping(session, hook)
    first, waits = delivery.asked_at, []
    message = deliveries.messages.message_id(delivery)
    while delivery.state is DeliveryState.PENDING:
        assert taken(session, hook).messages[0].id == message, "the same at every attempt"
        passing(deliveries.LEASE.total_seconds())  # that courier was never heard of again
        first -= deliveries.LEASE
        attempt(session, hook, BUSY)
        session.refresh(delivery)
        if delivery.state is DeliveryState.PENDING:
            wait = max(delivery.next_attempt_at, hook.rests_until) - now(session)
            waits.append(wait.total_seconds())
            assert claim(session, hook.id) is None
            passing(waits[-1])
            first -= timedelta(seconds=waits[-1])
    doubled = [min(10 * 2**place, 4 * 3600) for place in range(len(waits))]
    assert all(0.8 * wait <= waited <= 1.2 * wait for wait, waited in zip(doubled, waits, strict=True))
    assert timedelta(hours=16) < now(session) - first < timedelta(days=1)
    assert (delivery.state, delivery.status, delivery.response) == (DeliveryState.FAILED, 500, "oh no")
    assert len(waits) > 10


def test_after_a_failure_the_turn_ends_and_the_webhook_rests_longer_each_time_until_one_is_taken(
    session: Session, owner: User, hook: Webhook, submit: Callable[..., Job], passing: Pass
) -> None:
    for _ in range(20):
        submit(owner)
    rests = []
    for _ in range(10):
        assert attempt(session, hook, AWAY) == [False]
        session.refresh(hook)
        rests.append((hook.rests_until - now(session)).total_seconds())
        assert deliveries.due(session) == []
        passing(rests[-1])
    longest = deliveries.LONGEST_REST.total_seconds()
    expected = [min(10 * 2**place, longest) for place in range(10)]
    assert all(0.8 * rest <= rested <= 1.2 * rest for rest, rested in zip(expected, rests, strict=True))
    assert [each.attempts for each in messages_of(session, hook)] == [1] * 10 + [0] * 10
    assert attempt(session, hook, TAKEN) == [True]
    session.refresh(hook)
    assert hook.failures == 0
    assert deliveries.due(session) == [hook.id]


def test_one_message_that_is_never_taken_does_not_hold_up_the_others(
    session: Session, owner: User, hook: Webhook, submit: Callable[..., Job], passing: Pass
) -> None:
    for _ in range(3):
        submit(owner)
    assert attempt(session, hook, BUSY) == [False]
    passing(12)
    assert attempt(session, hook, TAKEN, TAKEN, BUSY) == [True, True, False]
    assert [each.state.value for each in messages_of(session, hook)] == ["pending", "delivered", "delivered"]


def test_gone_ends_the_webhook(session: Session, owner: User, hook: Webhook, submit: Callable[..., Job]) -> None:
    submit(owner)
    submit(owner)
    assert attempt(session, hook, GONE) == [False]
    session.refresh(hook)
    assert (hook.active, hook.disabled_because) == (False, "its receiver answered 410 Gone")
    assert [each.state.value for each in messages_of(session, hook)] == ["failed", "pending"]
    assert deliveries.due(session) == []


def test_too_many_failures_in_a_row_disable_a_webhook(
    session: Session, owner: User, hook: Webhook, submit: Callable[..., Job], passing: Pass
) -> None:
    strict = OPEN.model_copy(update={"webhook_failures": 3})
    submit(owner)
    for answer in (AWAY, TAKEN, AWAY, AWAY, AWAY):
        assert hook.active
        submit(owner)
        attempt(session, hook, answer, settings=strict)
        passing(900)
        session.refresh(hook)
    assert not hook.active
    assert hook.disabled_because == f"3 attempts in a row failed; the last: {AWAY.error}"


def test_what_is_asked_for_again_is_sent_again_as_the_same_message(
    session: Session, hook: Webhook, passing: Pass
) -> None:
    delivery = subscriptions.ping(session, hook)
    attempt(session, hook, TAKEN)
    passing(10 * 86400)
    session.refresh(delivery)
    subscriptions.redeliver(session, hook, delivery)
    turn = taken(session, hook)
    assert [message.id for message in turn.messages] == [deliveries.messages.message_id(delivery)]
    deliveries.settle(session, turn, turn.messages[0], BUSY, OPEN)
    assert (delivery.state, delivery.attempts) == (DeliveryState.PENDING, 1), "it has a day again"


def test_two_couriers_never_have_the_same_webhook(session: Session) -> None:
    with database.transaction() as own:
        owner = User(name="grace")
        own.add(owner)
        own.flush()
        hook = subscriptions.create(own, owner, url="http://127.0.0.1:9000/", events=["submitted"], settings=OPEN)
        subscriptions.ping(own, hook)
    with database.transaction() as first:
        assert claim(first, hook.id)
        with database.transaction() as second:
            assert claim(second, hook.id) is None, "while the first one has not committed"
    with database.transaction() as second:
        assert claim(second, hook.id) is None
        assert deliveries.due(second) == []


def test_what_a_courier_writes_after_its_time_is_dropped(session: Session, hook: Webhook, passing: Pass) -> None:
    delivery = subscriptions.ping(session, hook)
    late = taken(session, hook)
    passing(deliveries.LEASE.total_seconds())
    turn = taken(session, hook)
    assert deliveries.settle(session, late, late.messages[0], AWAY, OPEN) is False
    deliveries.finish(session, late)
    session.refresh(delivery)
    assert (delivery.attempts, claim(session, hook.id)) == (0, None)
    assert deliveries.settle(session, turn, turn.messages[0], TAKEN, OPEN) is True


def test_a_webhook_that_is_removed_on_the_way_takes_its_messages_along(session: Session, hook: Webhook) -> None:
    subscriptions.ping(session, hook)
    turn = taken(session, hook)
    session.flush()
    session.delete(hook)
    session.flush()
    assert deliveries.settle(session, turn, turn.messages[0], TAKEN, OPEN) is False
    deliveries.finish(session, turn)
    assert session.execute(select(func.count()).select_from(Delivery)).scalar_one() == 0


def test_what_was_sent_long_ago_is_forgotten(session: Session, hook: Webhook, passing: Pass) -> None:
    subscriptions.ping(session, hook)
    passing(100)
    newer = subscriptions.ping(session, hook)
    deliveries.tidy(session, timedelta(seconds=50))
    session.expire_all()
    assert [each.id for each in messages_of(session, hook)] == [newer.id]
    turn = taken(session, hook)
    deliveries.tidy(session, timedelta(microseconds=-1))
    session.expire_all()
    assert deliveries.settle(session, turn, turn.messages[0], TAKEN, OPEN) is True, "there is nothing to write down"


def test_an_error_is_kept_in_brief(session: Session, hook: Webhook) -> None:
    delivery = subscriptions.ping(session, hook)
    attempt(session, hook, Answer(None, "x" * 10_000))
    session.refresh(delivery)
    assert delivery.error == "x" * deliveries.MOST_TOLD


def test_an_event_without_webhooks_costs_no_row(session: Session, owner: User, submit: Callable[..., Job]) -> None:
    lifecycle.cancel(session, submit(owner).id)
    assert session.execute(select(func.count()).select_from(Delivery)).scalar_one() == 0


def test_owners_take_turns_and_none_has_more_couriers_than_one_may(session: Session) -> None:
    hooks: dict[int, str] = {}
    for name, many in (("greedy", 5), ("modest", 1), ("other", 2)):
        owner = User(name=name)
        session.add(owner)
        session.flush()
        for _ in range(many):
            made = subscriptions.create(
                session, owner, url="http://127.0.0.1:9000/", events=["submitted"], settings=OPEN
            )
            subscriptions.ping(session, made)
            hooks[made.id] = name
    session.flush()

    def turns(most: int) -> list[Batch]:
        found = []
        while turn := deliveries.claim_next(session, most_of_one=most):
            found.append(turn)
            session.flush()
        return found

    first = turns(2)
    names = [hooks[turn.webhook_id] for turn in first]
    assert names == ["greedy", "modest", "other", "greedy", "other"]
    assert deliveries.claim_next(session, most_of_one=2) is None, "the greedy one has as many as one may"
    for turn in first:
        deliveries.settle(session, turn, turn.messages[0], TAKEN, OPEN)
        deliveries.finish(session, turn)
    left = [hooks[turn.webhook_id] for turn in turns(100)]
    assert left == ["greedy"] * 3


def test_who_was_served_longest_ago_is_next(session: Session, passing: Pass) -> None:
    owners = [User(name=name) for name in ("first", "second", "third")]
    session.add_all(owners)
    session.flush()
    mine = {
        subscriptions.create(
            session, owner, url="http://127.0.0.1:9000/", events=["submitted"], settings=OPEN
        ).id: owner.name
        for owner in owners
    }
    served = []
    for _ in range(7):
        for webhook_id in mine:
            subscriptions.ping(session, session.get_one(Webhook, webhook_id))
        session.flush()
        turn = deliveries.claim_next(session, most_of_one=1)
        assert turn is not None
        served.append(mine[turn.webhook_id])
        for message in turn.messages:
            deliveries.settle(session, turn, message, TAKEN, OPEN)
        deliveries.finish(session, turn)
        passing(1)
    assert served == ["first", "second", "third"] * 2 + ["first"]
