"""Which studies may the caller see? Their own, or all for an admin."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path
from sqlalchemy import Select, orm, select
from sqlalchemy.orm import joinedload

from api.dependencies.auth import Member, Viewer
from api.dependencies.session import Session
from hsu_core.spec.values import EXACT
from hsu_jobs.errors import NotFound
from hsu_jobs.tables import ApiKey, Role, StudyRow

StudyId = Annotated[int, Path(ge=1, le=EXACT)]


def studies_visible_to(key: ApiKey) -> Select[StudyRow]:
    """The studies that this key may see, with their owners."""
    every = select(StudyRow).options(joinedload(StudyRow.owner, innerjoin=True))
    return every if key.role is Role.ADMIN else every.where(StudyRow.owner_id == key.user_id)


def visible_study(study_id: StudyId, key: Viewer, session: Session) -> StudyRow:
    """The study of this id. Raises `NotFound`."""
    return _one(session, studies_visible_to(key), study_id)


SeenStudy = Annotated[StudyRow, Depends(visible_study, scope="function")]
"""A study that the caller may see."""


def changed_study(study_id: StudyId, key: Member, session: Session) -> StudyRow:
    """The same, locked: two requests do not queue its runs twice. Raises `NotFound`."""
    return _one(session, studies_visible_to(key).with_for_update(of=StudyRow), study_id)


ChangedStudy = Annotated[StudyRow, Depends(changed_study, scope="function")]
"""A study that the caller changes."""


def _one(session: orm.Session, among: Select[StudyRow], study_id: int) -> StudyRow:
    study = session.execute(among.where(StudyRow.id == study_id)).scalar_one_or_none()
    if study is None:
        raise NotFound(f"there is no study {study_id}, or it is not yours")
    return study
