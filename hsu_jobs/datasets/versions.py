"""Which data sets may somebody see, which version is meant, and when can one be deleted?

Everybody sees their own and those that are shared; an admin sees all. Two users may each have a set of the same name:
without an owner, one's own is meant, or else the one that somebody shares.
"""

from __future__ import annotations

from difflib import get_close_matches

from sqlalchemy import ColumnElement, Select, func, literal, or_, select
from sqlalchemy.orm import Session, joinedload

from hsu_core.spec import OWN
from hsu_jobs.artifacts.part_uploads import Upload
from hsu_jobs.datasets import storing
from hsu_jobs.errors import BadRequest, DatasetInUse, Forbidden, Gone, NotFound
from hsu_jobs.states import TERMINAL
from hsu_jobs.tables import ApiKey, DatasetPart, DatasetRow, DatasetState, Job, Role, User

MOST_NAMED = 5
"""Jobs, names or owners that a message lists."""


def visible_to(key: ApiKey) -> Select[DatasetRow]:
    """The versions that a key may see, with their owners."""
    every = select(DatasetRow).join(User, DatasetRow.owner_id == User.id).options(joinedload(DatasetRow.owner))
    return every.where(_may_see(key))


def of_name(session: Session, key: ApiKey, name: str, *, owner: str | None) -> list[DatasetRow]:
    """The versions of a set, the newest first.

    Raises `NotFound`, which names similar ones, or `BadRequest` if several users share a set of this name.
    """
    named = visible_to(key).where(DatasetRow.name == name).order_by(DatasetRow.version.desc())
    rows = list(session.execute(named if owner is None else named.where(User.name == owner)).scalars())
    mine = [row for row in rows if row.owner_id == key.user_id]
    if owner is None and mine:
        return mine
    owners = sorted({row.owner.name for row in rows})
    if len(owners) > 1:
        raise BadRequest(f"{name!r} is the name of sets of {', '.join(owners[:MOST_NAMED])}: say which owner is meant")
    if not rows:
        of = f" of {owner}" if owner else ""
        raise NotFound(f"there is no data set {name!r}{of} that you may use{_similar(session, key, name)}")
    return rows


def version_of(session: Session, key: ApiKey, name: str, number: int, *, owner: str | None) -> DatasetRow:
    """A version of a set. Raises as `of_name`, and `NotFound` if there is no such version."""
    rows = of_name(session, key, name, owner=owner)
    found = next((row for row in rows if row.version == number), None)
    if found is None:
        raise NotFound(f"{name} has no version {number}; the newest is {rows[0].version}")
    return found


def require_own(key: ApiKey, row: DatasetRow) -> None:
    """Raise `Forbidden` if the key may see a version, but not change it."""
    if key.role is not Role.ADMIN and row.owner_id != key.user_id:
        raise Forbidden(f"{row.name} belongs to {row.owner.name}, who shares it: only they or an admin may change it")


def locked(session: Session, row: DatasetRow) -> DatasetRow:
    """The version, locked and read again."""
    again = select(DatasetRow).where(DatasetRow.id == row.id).options(joinedload(DatasetRow.owner, innerjoin=True))
    return session.execute(again.with_for_update(of=DatasetRow).execution_options(populate_existing=True)).scalar_one()


def to_train_on(owner: str, name: str, number: int) -> Select[DatasetRow]:
    """A version of a set, locked so that it is not deleted before a job that uses it is there."""
    row = select(DatasetRow).join(User, DatasetRow.owner_id == User.id).where(User.name == owner)
    return row.where(DatasetRow.name == name, DatasetRow.version == number).with_for_update(of=DatasetRow, read=True)


def parts_of(row: DatasetRow) -> Select[DatasetPart]:
    """The parts of an upload that have arrived."""
    return select(DatasetPart).where(DatasetPart.dataset_id == row.id).order_by(DatasetPart.number)


def upload_of(row: DatasetRow) -> Upload:
    """How a version arrives."""
    return Upload(row.upload_bytes, row.part_bytes, storing.upload(row.id), DatasetPart, {"dataset_id": row.id})


def taken_bytes(session: Session, owner_id: int, *, but: int = 0) -> int:
    """Bytes that the sets of a user take, one of them aside: converted, or as they are declared until then."""
    kept = DatasetRow.state.in_((DatasetState.UPLOADING, DatasetState.CONVERTING, DatasetState.READY))
    total = select(func.coalesce(func.sum(func.coalesce(DatasetRow.bytes, DatasetRow.upload_bytes)), 0))
    mine = total.where(DatasetRow.owner_id == owner_id, DatasetRow.id != but, kept)
    return int(session.execute(mine).scalar_one())


def change(session: Session, row: DatasetRow, *, licence: str | None, shared: bool | None) -> DatasetRow:
    """Change a version's note, or who may use it; None stays as it is. Raises `Gone`.

    The data never change. Jobs that others have submitted keep a version that is no longer shared.
    """
    dataset = locked(session, row)
    if dataset.state is DatasetState.DELETED:
        raise Gone(f"version {dataset.version} of {dataset.name} was deleted")
    dataset.licence = dataset.licence if licence is None else licence
    dataset.shared = dataset.shared if shared is None else shared
    session.flush()
    return dataset


def delete(session: Session, row: DatasetRow) -> None:
    """Delete a version; a worker then removes its files. Raises `Gone`, or `DatasetInUse` while jobs need it."""
    dataset = locked(session, row)
    if dataset.state is DatasetState.DELETED:
        raise Gone(f"version {dataset.version} of {dataset.name} was deleted")
    using = session.execute(_jobs_that_use(dataset)).scalars().all()
    if using:
        more = " and others" if len(using) > MOST_NAMED else ""
        named = ", ".join(map(str, using[:MOST_NAMED]))
        raise DatasetInUse(
            f"jobs that have not ended use version {dataset.version} of {dataset.name}: {named}{more}; "
            "cancel them first, or wait"
        )
    dataset.state, dataset.changed_at, dataset.cleared_at = DatasetState.DELETED, func.now(), None
    dataset.holder = dataset.held_until = None


def _may_see(key: ApiKey) -> ColumnElement[bool]:
    if key.role is Role.ADMIN:
        return literal(True)  # noqa: FBT003
    return or_(DatasetRow.owner_id == key.user_id, DatasetRow.shared)


def _similar(session: Session, key: ApiKey, name: str) -> str:
    ready = visible_to(key).where(DatasetRow.state == DatasetState.READY)
    names = session.execute(ready.with_only_columns(DatasetRow.name).distinct().limit(1000)).scalars()
    near = get_close_matches(name, names, n=MOST_NAMED)
    return f"; there {'is' if len(near) == 1 else 'are'} {', '.join(near)}" if near else ""


def _jobs_that_use(row: DatasetRow) -> Select[int]:
    asked = Job.spec["dataset"]
    of_name = Job.spec[("dataset", "name")].astext == row.name  # the expression of the partial index
    same = (asked["owner"].astext == row.owner.name) & (asked["version"].astext == str(row.version))
    chosen = select(Job.id).where(Job.dataset == OWN, of_name, same, Job.state.not_in(TERMINAL))
    return chosen.order_by(Job.id).limit(MOST_NAMED + 1)
