"""Loops over many rows do not end with one of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from samples import DIGITS, ROOM
from sending import claim
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from hsu_jobs import attempts, database, lifecycle, row_failures
from hsu_jobs.attempts import Claim
from hsu_jobs.cluster import claiming, workers
from hsu_jobs.database_outage import DatabaseAway
from hsu_jobs.errors import SpecNotReadable
from hsu_jobs.settings import Settings
from hsu_jobs.spec import Limits, is_readable, limits_of, parse, read
from hsu_jobs.states import State, Stop
from hsu_jobs.tables import MOST_ATTEMPTS, Attempt, Delivery, DeliveryState, Job, RowFailure, User
from hsu_jobs.webhooks import deliveries, subscriptions

Submit = Callable[..., Job]
Claimed = Callable[[], Claim]
Later = Callable[[float], None]
SETTINGS = Settings()
STRANGE = {"task": "classification", "regularizer": {"kind": "of_tomorrow"}}


def spoil(session: Session, job: Job) -> None:
    session.flush()
    session.execute(update(Job).where(Job.id == job.id).values(spec=STRANGE))
    session.expire_all()


def counts() -> dict[str, int]:
    with database.transaction() as own:
        return dict(own.execute(select(RowFailure.loop, RowFailure.failures)).all())


def test_every_spec_that_is_stored_now_can_be_read() -> None:
    spec = parse(DIGITS)
    assert read(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize("stored", [STRANGE, {}, None, [1], "x", DIGITS | {"new": 1}, DIGITS | {"limits": {"new": 1}}])
def test_a_spec_that_cannot_be_read_is_told_from_others_and_has_default_limits(stored: object) -> None:
    with pytest.raises(SpecNotReadable, match="this version of the service cannot read the stored spec"):
        read(stored)
    assert not is_readable(stored)
    assert limits_of(stored) == Limits()


def test_limits_are_read_although_the_rest_cannot_be() -> None:
    assert limits_of(STRANGE | {"limits": {"max_attempts": 7}}) == Limits(max_attempts=7)


def test_why_a_spec_cannot_be_read_is_told_in_bounds() -> None:
    with pytest.raises(SpecNotReadable) as caught:
        read(DIGITS | {"x" * 10_000: 1})
    assert len(caught.value.detail) <= 500


def test_a_lost_attempt_at_a_job_with_an_unreadable_spec_ends_as_any_other(
    session: Session, owner: User, submit: Submit, claimed: Claimed, later: Later
) -> None:
    lost = submit(owner), submit(owner)
    claimed(), claimed()
    spoil(session, lost[0])
    later(SETTINGS.lease.total_seconds() + 1)
    assert sorted(attempts.expire(session, SETTINGS)) == sorted(job.id for job in lost)
    assert {job.state for job in lost} == {State.QUEUED}


def test_a_deadline_is_kept_beside_a_row_that_fails(
    session: Session, owner: User, submit: Submit, later: Later
) -> None:
    """The first job's event cannot be written: a trigger stands for whatever may be wrong with a row."""
    bad, good = (submit(owner, limits={"deadline": 10}) for _ in range(2))
    refuse_events_of(session, bad)
    later(20)
    assert lifecycle.expire_overdue(session) == [good.id]
    assert (good.state, bad.state) == (State.FAILED, State.QUEUED)
    assert counts() == {"deadlines": 1}
    assert lifecycle.expire_overdue(session) == []
    assert counts() == {"deadlines": 2}


def test_a_lost_worker_is_noticed_beside_a_row_that_fails(
    session: Session, owner: User, submit: Submit, claimed: Claimed, later: Later
) -> None:
    bad, good = submit(owner), submit(owner)
    claimed(), claimed()
    refuse_events_of(session, bad)
    later(SETTINGS.lease.total_seconds() + 1)
    assert attempts.expire(session, SETTINGS) == [good.id]
    assert (good.state, bad.state) == (State.QUEUED, State.RUNNING)
    assert counts() == {"expired leases": 1}


def refuse_events_of(session: Session, job: Job) -> None:
    session.flush()
    session.execute(
        text(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;"
            f"CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.job_id = {job.id}) "
            "EXECUTE FUNCTION refuse()"
        )
    )


def test_an_attempt_at_a_job_that_is_not_running_ends_with_its_lease(
    session: Session, owner: User, submit: Submit, claimed: Claimed, later: Later
) -> None:
    job = submit(owner)
    claimed()
    session.execute(text("UPDATE jobs SET state = 'queued'"))
    session.expire_all()
    later(SETTINGS.lease.total_seconds() + 1)
    attempts.expire(session, SETTINGS)
    session.refresh(owner)
    assert (job.state, owner.gpus) == (State.QUEUED, 0)
    assert claimed().attempt == 2


def test_nobody_makes_room_for_a_job_that_cannot_be_read(
    session: Session, owner: User, submit: Submit, claimed: Claimed
) -> None:
    workers.register(session, ROOM.worker, pool="default", devices=ROOM.free, slots=1)
    low = submit(owner)
    claimed()
    spoil(session, submit(owner, priority=2))
    assert claiming.make_room(session, SETTINGS) == []
    submit(owner, priority=1)
    session.flush()
    assert claiming.make_room(session, SETTINGS) == [low.id]


def test_a_request_to_stop_that_cannot_be_told_keeps_no_other_from_being_made(
    session: Session, owner: User, submit: Submit, claimed: Claimed
) -> None:
    bad, good = submit(owner), submit(owner)
    claimed(), claimed()
    refuse_events_of(session, bad)
    running = session.execute(select(Attempt)).scalars().all()
    lifecycle.ask_to_stop(session, running, Stop.PREEMPT)
    told = session.execute(text("SELECT job_id FROM events WHERE event ->> 'kind' = 'stopping'")).scalars().all()
    assert told == [good.id]
    assert {attempt.stop for attempt in session.execute(select(Attempt)).scalars()} == {Stop.PREEMPT}


def test_a_claim_of_a_job_that_cannot_be_read_names_it(session: Session, owner: User, submit: Submit) -> None:
    job = submit(owner)
    spoil(session, job)
    with pytest.raises(SpecNotReadable) as caught:
        attempts.claim(session, ROOM, SETTINGS)
    assert caught.value.job_id == job.id


def test_a_job_that_is_passed_over_is_left_and_the_next_one_started(
    session: Session, owner: User, submit: Submit
) -> None:
    first, second = submit(owner), submit(owner)
    session.flush()
    claim = attempts.claim(session, ROOM._replace(passed_over=(first.id,)), SETTINGS)
    assert claim is not None
    assert claim.job_id == second.id


def test_a_share_of_nothing_keeps_nobody_from_starting(session: Session, owner: User, submit: Submit) -> None:
    nobody = User(name="bob", share=0.0)
    session.add(nobody)
    session.flush()
    submit(nobody)
    job = submit(owner)
    session.flush()
    claim = attempts.claim(session, ROOM, SETTINGS)
    assert claim is not None
    assert claim.job_id == job.id


def test_a_job_may_be_tried_more_often_than_a_small_number_counts_and_costs_no_more(
    session: Session, owner: User, submit: Submit, claimed: Claimed
) -> None:
    job = submit(owner)
    session.flush()
    session.execute(
        text(
            "INSERT INTO attempts (job_id, number, worker, device, token, lease_expires_at, ended_at) "
            "SELECT :job, n, 'w', 'cpu:0', gen_random_uuid(), now(), now() FROM generate_series(1, 32767) AS n"
        ),
        {"job": job.id},
    )
    assert claimed().attempt == 2**15
    seen = session.execute(select(Job).options(*_whole()).where(Job.id == job.id)).scalar_one()
    assert [attempt.number for attempt in seen.attempts] == list(range(2**15 - MOST_ATTEMPTS + 1, 2**15 + 1))


def _whole() -> list[object]:
    from sqlalchemy.orm import selectinload

    return [selectinload(Job.attempts)]


def test_a_message_that_cannot_be_written_is_given_up_and_the_next_one_is_sent(
    session: Session, owner: User, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = subscriptions.create(session, owner, url="https://8.8.8.8/", events=["submitted"], settings=SETTINGS)
    session.flush()
    for _ in range(2):
        submit(owner)
    session.flush()
    first, second = session.execute(select(Delivery).order_by(Delivery.id)).scalars().all()
    body = deliveries.messages.body

    def broken(delivery: Delivery, *told: object) -> bytes:
        if delivery.id == first.id:
            raise ValueError("it cannot be told")
        return body(delivery, *told)  # type: ignore[arg-type]

    monkeypatch.setattr(deliveries.messages, "body", broken)
    turn = claim(session, hook.id)
    assert turn is not None
    assert [message.delivery_id for message in turn.messages] == [second.id]
    assert first.state is DeliveryState.FAILED
    assert "it cannot be told" in (first.error or "")
    assert counts() == {"webhook messages": 1}


@pytest.mark.parametrize("event", ['{"kind": "of_tomorrow"}', '{"no": 1}', "[1]"])
def test_a_webhook_is_told_of_events_of_other_versions(
    session: Session, owner: User, submit: Submit, event: str
) -> None:
    job = submit(owner)
    hook = subscriptions.create(session, owner, url="https://8.8.8.8/", events=["submitted"], settings=SETTINGS)
    session.flush()
    made = text("INSERT INTO events (job_id, event) VALUES (:job, :event) RETURNING id")
    event_id = session.execute(made, {"job": job.id, "event": event}).scalar_one()
    session.add(Delivery(webhook_id=hook.id, event_id=event_id))
    session.flush()
    turn = claim(session, hook.id)
    assert turn is not None
    assert len(turn.messages) == 1


def test_a_database_that_does_not_answer_is_no_rows_failure(session: Session) -> None:
    with pytest.raises(DatabaseAway), row_failures.alone("sweeps", str(uuid.uuid4())):
        raise DatabaseAway("SELECT", None, Exception("away"))
    assert counts() == {}


def test_what_failed_is_told_in_full_once_and_counted_each_time(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    row = f"job {uuid.uuid4()}"
    for _ in range(3):
        with row_failures.savepoint(session, "deadlines", row):
            raise ValueError("bad\0row")
    assert [record.exc_info is not None for record in caplog.records] == [True, False, False]
    assert counts() == {"deadlines": 3}


def test_a_reason_to_stop_of_a_newer_version_is_one_all_the_same(
    session: Session, owner: User, submit: Submit, claimed: Claimed
) -> None:
    submit(owner, priority=-1)
    claim = claimed()
    session.execute(text("UPDATE attempts SET stop = 'of_tomorrow'"))
    session.expire_all()
    wish, _ = attempts.renew(session, claim.token, lease=SETTINGS.lease)
    assert wish.asks_to_stop
    assert claiming.make_room(session, SETTINGS) == []
    assert attempts.release(session, claim.token, SETTINGS).kind == "released"
