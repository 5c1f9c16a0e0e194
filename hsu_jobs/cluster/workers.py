"""Which machines are there, and may they take jobs?

Knows one row for each worker. A worker reports each time it looks for work; one that has not reported for a lease
counts as gone, and its row stays as a record. A name belongs to one process at a time, which its identity shows
(`worker/membership.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, TypedDict, Unpack
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from hsu_jobs import lifecycle, queries
from hsu_jobs.cluster.claiming import CHOOSERS
from hsu_jobs.errors import NameTaken, NotFound
from hsu_jobs.outcomes import Faulty, Outcome, Succeeded
from hsu_jobs.states import Stop
from hsu_jobs.tables import Duty, Worker

MOST_FAULTS = 3
"""Attempts in a row that may fail because of a worker's hardware before it is excluded."""


class Equipment(TypedDict):
    """What a worker has."""

    pool: str
    devices: Sequence[str]
    slots: int


def join(
    session: Session, name: str, identity: UUID, *, is_free: bool, silence: timedelta, **has: Unpack[Equipment]
) -> None:
    """Serve under a name from now on, with this equipment. Raises `NameTaken` if another live process has the name.

    `is_free`: no other process holds the name's lock, so the process that had the name is gone. Otherwise that process
    is live unless it has not reported for `silence`: a machine that lost its power closes no connection.
    """
    session.execute(queries.hold(f"join {name}"))
    found = session.execute(queries.served_by(name, silence)).one_or_none()
    if found is not None and not is_free:
        other, is_there = found
        if other != identity and is_there:
            raise NameTaken(
                f"another live process is worker {name} (it was heard of within {silence.total_seconds():g} s): "
                "give each worker a name of its own with HSU_WORKER_NAME, or stop the other one"
            )
    register(session, name, identity=identity, **has)


def register(session: Session, name: str, *, identity: UUID | None = None, **has: Unpack[Equipment]) -> None:
    """Record what a worker has, whichever process had its name; a draining or excluded worker stays so."""
    values = _columns(has) | {"identity": identity, "started_at": func.now(), "seen_at": func.now()}
    made = insert(Worker).values(name=name, duty=Duty.ACTIVE, **values)
    session.execute(made.on_conflict_do_update(index_elements=[Worker.name], set_=values | {"holding": None}))


def heartbeat(session: Session, name: str, identity: UUID, **has: Unpack[Equipment]) -> bool:
    """Record that the worker is there, and what it has: each time, so that no wrong row stays for long.

    False if another process now has the name; then nothing is written.
    """
    mine = update(Worker).where(Worker.name == name, Worker.identity == identity).returning(Worker.name)
    return session.execute(mine.values(seen_at=func.now(), **_columns(has))).one_or_none() is not None


def note_readiness(
    session: Session,
    name: str,
    *,
    datasets: Sequence[str],
    lacks: Sequence[str],
    plugins: Mapping[str, str] = MappingProxyType({}),
    broken_plugins: Sequence[str] = (),
) -> None:
    """Record which data sets a worker can read, which plug-ins it has, and why it takes no jobs now, if it does not."""
    values = {
        "datasets": list(datasets),
        "lacks": list(lacks),
        "plugins": dict(plugins),
        "broken_plugins": list(broken_plugins),
    }
    session.execute(update(Worker).where(Worker.name == name).values(values))


def drain(session: Session, name: str, *, now: bool = False) -> Worker:
    """Let a worker take no further job; `now`: its running jobs are saved and continue elsewhere. Raises `NotFound`."""
    session.execute(queries.hold(CHOOSERS))  # nothing starts there meanwhile
    running = session.execute(queries.running_on(name)).scalars().all() if now else ()
    worker = _named(session, name)  # after its attempts, as when an attempt is settled: the other order is a deadlock
    worker.duty = Duty.DRAINING
    lifecycle.ask_to_stop(session, [attempt for attempt in running if attempt.stop is None], Stop.DRAIN)
    return worker


def restore(session: Session, name: str) -> Worker:
    """Let a drained or excluded worker take jobs again. Raises `NotFound`."""
    worker = _named(session, name)
    worker.duty, worker.faults = Duty.ACTIVE, 0
    return worker


def note_ending(session: Session, name: str, outcome: Outcome) -> None:
    """Count the faults of a worker's hardware; after several in a row it is excluded."""
    if not isinstance(outcome, Faulty | Succeeded):
        return
    worker = session.execute(select(Worker).where(Worker.name == name).with_for_update()).scalar_one_or_none()
    if worker is None:
        return
    worker.faults = worker.faults + 1 if isinstance(outcome, Faulty) else 0
    if worker.faults >= MOST_FAULTS and worker.duty is Duty.ACTIVE:
        worker.duty = Duty.EXCLUDED


def _columns(has: Equipment) -> dict[str, Any]:
    return {**has, "devices": list(has["devices"])}


def _named(session: Session, name: str) -> Worker:
    worker = session.execute(select(Worker).where(Worker.name == name).with_for_update()).scalar_one_or_none()
    if worker is None:
        names = sorted(session.execute(select(Worker.name)).scalars())
        raise NotFound(f"there is no worker {name!r}; there are: {', '.join(names) or 'none'}")
    return worker
