"""Who is told of what: addressed in the database, in the statement that writes the event."""

from __future__ import annotations

import threading
import typing
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from samples import ROOM, TRAINED
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hsu_jobs import attempts, database, lifecycle
from hsu_jobs.attempts import Claim
from hsu_jobs.errors import NotFound, SpecRejected, WebhookInactive
from hsu_jobs.events import Event
from hsu_jobs.outcomes import Preempted, Succeeded
from hsu_jobs.settings import Settings
from hsu_jobs.states import TERMINAL, State
from hsu_jobs.tables import Delivery, DeliveryState, EventRow, Job, User, Webhook
from hsu_jobs.webhooks import subscriptions

OPEN = Settings(webhook_allow=("127.0.0.0/8",))
URL = "http://127.0.0.1:9000/hook"

Hook = Callable[..., Webhook]


@pytest.fixture
def hook(session: Session) -> Hook:
    def made(owner: User, *events: Any, url: str = URL) -> Webhook:
        return subscriptions.create(session, owner, url=url, events=events or subscriptions.ENDINGS, settings=OPEN)

    return made


def told(session: Session, hook: Webhook) -> Sequence[str]:
    """The kinds of the events that it is to be told, in order."""
    session.flush()
    kind = EventRow.event["kind"].astext
    chosen = select(kind).join(Delivery, Delivery.event_id == EventRow.id).where(Delivery.webhook_id == hook.id)
    return session.execute(chosen.order_by(Delivery.id)).scalars().all()


def test_what_may_be_wanted_is_every_kind_of_event_and_every_ending() -> None:
    union = typing.get_args(Event)[0]
    kinds = {member.model_fields["kind"].default for member in typing.get_args(union)}
    assert set(typing.get_args(subscriptions.Subscribed)) == kinds | TERMINAL | {State.PAUSED, State.LOST}


def test_a_job_tells_its_owners_webhooks_what_each_wants(
    session: Session, owner: User, hook: Hook, submit: Callable[..., Job], claimed: Callable[[], Claim]
) -> None:
    endings, starts, everything = (
        hook(owner),
        hook(owner, "started"),
        hook(owner, *typing.get_args(subscriptions.Subscribed)),
    )
    submit(owner)
    attempts.settle(session, claimed().token, Preempted(), Settings())
    attempts.settle(session, claimed().token, Succeeded(result=TRAINED), Settings())
    assert told(session, endings) == ["ended"], "of two that ended, the one that the job succeeded with"
    assert told(session, starts) == ["started", "started"], "which one statement of raw SQL writes"
    assert told(session, everything) == ["submitted", "started", "ended", "started", "ended"]


def test_a_state_is_told_whichever_event_brings_it(
    session: Session, owner: User, hook: Hook, submit: Callable[..., Job], later: Callable[[float], None]
) -> None:
    cancelled, paused, failed = hook(owner, "cancelled"), hook(owner, "paused"), hook(owner, "failed")
    lifecycle.cancel(session, submit(owner).id)
    lifecycle.pause(session, submit(owner).id)
    submit(owner, limits={"deadline": 5})
    later(10)
    lifecycle.expire_overdue(session)
    assert (told(session, cancelled), told(session, paused), told(session, failed)) == (
        ["cancelled"],
        ["paused"],
        ["expired"],
    )


def test_only_the_owner_of_the_job_is_told_and_only_while_the_webhook_is_active(
    session: Session, owner: User, hook: Hook, submit: Callable[..., Job]
) -> None:
    other = User(name="bo")
    session.add(other)
    session.flush()
    mine, others = hook(owner, "submitted"), hook(other, "submitted")
    submit(owner)
    subscriptions.change(session, mine, active=False, settings=OPEN)
    submit(owner)
    subscriptions.change(session, mine, active=True, settings=OPEN)
    assert (len(told(session, mine)), len(told(session, others))) == (1, 0)


def test_an_event_that_is_rolled_back_has_no_message(
    session: Session, owner: User, hook: Hook, submit: Callable[..., Job]
) -> None:
    mine = hook(owner, "submitted")
    with session.begin_nested() as nested:
        submit(owner)
        session.flush()
        nested.rollback()
    assert told(session, mine) == []


@pytest.fixture
def committed(session: Session) -> tuple[int, int]:
    """An owner and a webhook of theirs, for everybody to see."""
    with database.transaction() as own:
        owner = User(name="grace")
        own.add(owner)
        own.flush()
        return owner.id, subscriptions.create(own, owner, url=URL, events=["submitted"], settings=OPEN).id


def test_a_webhook_that_is_removed_meanwhile_does_not_break_what_happens(
    committed: tuple[int, int], is_anybody_waiting: Callable[[], bool], spec: Any
) -> None:
    owner_id, webhook_id = committed

    def submit() -> None:
        with database.transaction() as own:
            lifecycle.submit(own, spec, owner=own.get_one(User, owner_id))

    with database.transaction() as removing:
        removing.delete(removing.get_one(Webhook, webhook_id))
        removing.flush()
        submitting = threading.Thread(target=submit)
        submitting.start()
        while not is_anybody_waiting():
            assert submitting.is_alive()
    submitting.join()
    with database.transaction() as own:
        assert own.execute(select(func.count()).select_from(Job)).scalar_one() == 1
        assert own.execute(select(func.count()).select_from(Delivery)).scalar_one() == 0


def test_changing_a_webhook_holds_up_nobody_who_writes_an_event(committed: tuple[int, int], spec: Any) -> None:
    owner_id, webhook_id = committed
    with database.transaction() as changing:
        subscriptions.change(
            changing, subscriptions.found(changing, owner_id, webhook_id, to_change=True), url=URL, settings=OPEN
        )
        with database.transaction() as own:
            lifecycle.submit(own, spec, owner=own.get_one(User, owner_id))


def test_a_start_that_a_worker_makes_tells_too(committed: tuple[int, int], spec: Any) -> None:
    owner_id, webhook_id = committed
    with database.transaction() as own:
        subscriptions.change(own, own.get_one(Webhook, webhook_id), events=["started"], settings=OPEN)
        lifecycle.submit(own, spec, owner=own.get_one(User, owner_id))
    with database.transaction() as own:
        assert attempts.claim(own, ROOM, Settings())
    with database.transaction() as own:
        assert told(own, own.get_one(Webhook, webhook_id)) == ["started"]


def test_an_address_that_may_not_be_called_is_pointed_at(session: Session, owner: User) -> None:
    for url, said in (
        ("http://169.254.169.254/latest/meta-data", "not a public address"),
        ("http://localhost:8000/", "localhost is (127.0.0.1|::1), which is not a public address"),
        ("http://there-is-no-such-name.invalid/", "resolved"),
        ("ftp://8.8.8.8/", "expected http"),
    ):
        with pytest.raises(SpecRejected, match=said) as caught:
            subscriptions.create(session, owner, url=url, events=["failed"], settings=Settings())
        assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [("/url", "url_refused")]


def test_an_owner_has_so_many_webhooks_and_no_more(session: Session, owner: User, hook: Hook) -> None:
    for _ in range(subscriptions.MOST):
        hook(owner)
    with pytest.raises(SpecRejected, match="there are 20 already"):
        hook(owner)


def test_a_new_secret_takes_the_place_of_the_old_one(owner: User, hook: Hook) -> None:
    mine = hook(owner)
    before = mine.secret
    assert subscriptions.rotate(mine).secret != before


def test_a_webhook_is_found_by_its_owner_alone(session: Session, owner: User, hook: Hook) -> None:
    other = User(name="bo")
    session.add(other)
    session.flush()
    mine = hook(owner)
    assert subscriptions.found(session, owner.id, mine.id) is mine
    with pytest.raises(NotFound, match="or it is not yours"):
        subscriptions.found(session, other.id, mine.id)


def test_nothing_is_sent_to_an_inactive_webhook_also_when_asked(
    session: Session, owner: User, hook: Hook, submit: Callable[..., Job]
) -> None:
    mine = hook(owner, "submitted")
    delivery = subscriptions.ping(session, mine)
    mine.disabled_because = "its receiver answered 410 Gone"
    subscriptions.change(session, mine, active=False, settings=OPEN)
    for ask in (lambda: subscriptions.ping(session, mine), lambda: subscriptions.redeliver(session, mine, delivery)):
        with pytest.raises(WebhookInactive, match="410 Gone"):
            ask()
    subscriptions.change(session, mine, active=True, settings=OPEN)
    assert (mine.disabled_because, mine.failures) == (None, 0)
    assert subscriptions.redeliver(session, mine, delivery).state is DeliveryState.PENDING
