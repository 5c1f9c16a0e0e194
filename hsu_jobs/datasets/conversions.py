"""Which worker converts which upload, and what came of it? A claim is a lease: after its end another worker may claim.

Knows rows and names of files. The files of a version that is deleted, refused or ready are removed later, by whichever
worker looks: a storage that is away delays nothing else.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Select, delete, func, or_, select, update
from sqlalchemy.orm import Session

from hsu_core.data.own.manifest import Manifest
from hsu_core.data.own.sources import Options, Source
from hsu_jobs import queries
from hsu_jobs.datasets import versions
from hsu_jobs.settings import Settings
from hsu_jobs.tables import DatasetPart, DatasetRow, DatasetState

LEASE = timedelta(seconds=60)
MOST_TRIES = 3
"""Conversions that may end without a result, as when their machine has no memory left, before a version is refused."""
ABANDONED_AFTER = timedelta(days=7)
"""Time without a further part after which an upload is given up."""
LONGEST_REASON = 1000

_now = func.now()
_ENDED = (DatasetState.READY, DatasetState.REFUSED, DatasetState.DELETED)


class Part(NamedTuple):
    """A part of an upload."""

    number: int
    sha256: str


class Conversion(NamedTuple):
    """A claim on an upload, with all that is needed to convert it."""

    dataset_id: int
    holder: UUID
    source: Source
    options: Options
    train_bytes: int
    """Of the training file, which is the first one of the upload."""
    test_bytes: int
    sha256: str
    parts: Sequence[Part]
    most_bytes: int
    """What its owner may still use."""


def claim_next(session: Session, settings: Settings) -> Conversion | None:
    """Claim the oldest upload that nobody converts; None if there is none."""
    row = session.execute(_to_convert()).scalar_one_or_none()
    if row is None:
        return None
    if row.tries >= MOST_TRIES:
        _refuse(
            row, f"its conversion ended {MOST_TRIES} times without a result: does a machine have the memory for it?"
        )
        return None
    row.holder, row.held_until, row.tries = uuid.uuid4(), _now + LEASE, row.tries + 1
    parts = session.execute(versions.parts_of(row)).scalars()
    return Conversion(
        dataset_id=row.id,
        holder=row.holder,
        source=row.source,  # type: ignore[arg-type]  # checked when it was stored
        options=Options.model_validate(row.options),
        train_bytes=row.upload_bytes - row.test_bytes,
        test_bytes=row.test_bytes,
        sha256=row.upload_sha256,
        parts=[Part(part.number, part.sha256) for part in parts],
        most_bytes=settings.dataset_bytes - versions.taken_bytes(session, row.owner_id, but=row.id),
    )


def renew(session: Session, conversion: Conversion) -> bool:
    """Renew the claim; returns whether it is still ours."""
    row = session.execute(_held(conversion)).scalar_one_or_none()
    if row is not None:
        row.held_until = _now + LEASE
    return row is not None


def release(session: Session, conversion: Conversion) -> None:
    """Give the claim back: what prevented it is not the upload's fault."""
    row = session.execute(_held(conversion)).scalar_one_or_none()
    if row is not None:
        row.holder = row.held_until = None
        row.tries -= 1


def note_content(session: Session, conversion: Conversion, manifest: Manifest) -> bool:
    """Record which content it has, before that is stored: from now on it is not removed. False: the claim is lost."""
    session.execute(queries.hold(f"content {manifest.sha256}"))
    row = session.execute(_held(conversion)).scalar_one_or_none()
    if row is None:
        return False
    row.sha256, row.bytes, row.facts = manifest.sha256, manifest.size, manifest.content.model_dump(mode="json")
    row.held_until = _now + LEASE
    return True


def settle(session: Session, conversion: Conversion, refused: str | None = None) -> None:
    """Record that it is ready, or why it is refused. If the claim is lost, only what was stored is looked at again."""
    dataset = session.execute(_held(conversion)).scalar_one_or_none()
    if dataset is None:
        session.execute(update(DatasetRow).where(DatasetRow.id == conversion.dataset_id).values(cleared_at=None))
        return
    if refused is not None:
        _refuse(dataset, refused)
        return
    dataset.state, dataset.changed_at = DatasetState.READY, _now
    dataset.holder = dataset.held_until = None


def give_up_abandoned(session: Session) -> None:
    """Refuse the uploads to which nothing was added for a long time."""
    old = (DatasetRow.state == DatasetState.UPLOADING) & (DatasetRow.changed_at < _now - ABANDONED_AFTER)
    for row in session.execute(select(DatasetRow).where(old).limit(100).with_for_update(skip_locked=True)).scalars():
        _refuse(row, f"the upload was not completed: no part arrived for {ABANDONED_AFTER.days} days")


class Surplus(NamedTuple):
    """Files that a version no longer needs."""

    dataset_id: int
    parts: Sequence[int]
    """The numbers of the parts of its upload."""
    content: str | None
    """The hash of the content, if no version needs that any more; it stays locked until the transaction ends."""


def next_surplus(session: Session) -> Surplus | None:
    """What can be removed next, with the row locked; None if there is nothing."""
    ended = select(DatasetRow).where(DatasetRow.cleared_at.is_(None), DatasetRow.state.in_(_ENDED))
    row = session.execute(ended.order_by(DatasetRow.id).limit(1).with_for_update(skip_locked=True)).scalar_one_or_none()
    if row is None:
        return None
    parts = [part.number for part in session.execute(versions.parts_of(row)).scalars()]
    return Surplus(row.id, parts, _unused_content(session, row))


def note_cleared(session: Session, surplus: Surplus) -> None:
    """Record that these files are gone."""
    session.execute(delete(DatasetPart).where(DatasetPart.dataset_id == surplus.dataset_id))
    session.execute(update(DatasetRow).where(DatasetRow.id == surplus.dataset_id).values(cleared_at=_now))


def _unused_content(session: Session, row: DatasetRow) -> str | None:
    if row.sha256 is None or row.state is DatasetState.READY:
        return None
    session.execute(queries.hold(f"content {row.sha256}"))
    needed = DatasetRow.state.in_((DatasetState.CONVERTING, DatasetState.READY))
    users = select(DatasetRow.id).where(DatasetRow.sha256 == row.sha256, needed).limit(1)
    return None if session.execute(users).first() else row.sha256


def _to_convert() -> Select[DatasetRow]:
    is_free = or_(DatasetRow.held_until.is_(None), DatasetRow.held_until < _now)
    waiting = select(DatasetRow).where(DatasetRow.state == DatasetState.CONVERTING, is_free)
    return waiting.order_by(DatasetRow.id).limit(1).with_for_update(skip_locked=True)


def _held(conversion: Conversion) -> Select[DatasetRow]:
    mine = (DatasetRow.id == conversion.dataset_id) & (DatasetRow.holder == conversion.holder)
    return select(DatasetRow).where(mine, DatasetRow.state == DatasetState.CONVERTING).with_for_update()


def _refuse(dataset: DatasetRow, reason: str) -> None:
    dataset.state, dataset.reason, dataset.changed_at = DatasetState.REFUSED, reason[:LONGEST_REASON], _now
    dataset.holder = dataset.held_until = None
