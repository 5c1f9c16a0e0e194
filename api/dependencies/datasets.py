"""Which version of a data set does a path name? One that the caller may see; to change it, it must be theirs."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query

from api.dependencies.auth import Member, Viewer
from api.dependencies.session import Session
from hsu_core.spec import DatasetName
from hsu_jobs.datasets import versions
from hsu_jobs.tables import DatasetRow

Name = Annotated[DatasetName, Path()]
Version = Annotated[int, Path(ge=1, le=2**31 - 1)]
Owner = Annotated[
    str | None,
    Query(min_length=1, max_length=1000, description="Its user; by default you, or else the one who shares it."),
]


def visible_versions(name: Name, key: Viewer, session: Session, owner: Owner = None) -> list[DatasetRow]:
    """The versions of this name, the newest first. Raises `NotFound` or `BadRequest`."""
    return versions.of_name(session, key, name, owner=owner)


def visible_version(name: Name, version: Version, key: Viewer, session: Session, owner: Owner = None) -> DatasetRow:
    """The version. Raises `NotFound` or `BadRequest`."""
    return versions.version_of(session, key, name, version, owner=owner)


SeenVersions = Annotated[list[DatasetRow], Depends(visible_versions, scope="function")]
SeenVersion = Annotated[DatasetRow, Depends(visible_version, scope="function")]


def own_version(key: Member, row: SeenVersion) -> DatasetRow:
    """A version that the caller may change. Raises `Forbidden` for one that somebody else shares."""
    versions.require_own(key, row)
    return row


OwnVersion = Annotated[DatasetRow, Depends(own_version, scope="function")]
