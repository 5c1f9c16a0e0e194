"""Are the parts of a run's file put together? Before the request has a session: a large file takes seconds."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Path, Request
from pydantic import WithJsonSchema

from api.dependencies.auth import Member
from api.dependencies.jobs import JobId, visible_job
from api.middleware import request_state
from api.streams.checkpoint_download import SLOWEST
from hsu_core.spec.values import EXACT
from hsu_jobs import database, run_files
from hsu_jobs.artifacts import installation
from hsu_jobs.errors import FileRefused, Unavailable
from hsu_jobs.settings import settings
from hsu_jobs.tables import FileState

UUID_SCHEMA = WithJsonSchema({"type": "string", "format": "uuid", "maxLength": 36})
Token = Annotated[UUID, UUID_SCHEMA, Header(alias="HSU-Token", description="The token with which the attempt began.")]
FileId = Annotated[int, Path(ge=1, le=EXACT, description="The upload's id.")]


def joined(request: Request, job_id: JobId, file_id: FileId, token: Token, key: Member) -> None:
    """Put the parts together. Raises as `run_files.to_join` and `run_files.join`, and `Unavailable`."""
    with database.transaction() as session:
        row = run_files.to_join(session, visible_job(job_id, key, session).id, token, file_id)
        storage = installation.storage(session, settings())
    if row.state is FileState.READY:
        return
    request_state.current(request.scope).allow(row.bytes / SLOWEST)
    try:
        run_files.join(storage, row)
    except FileRefused:
        with database.transaction() as session:
            run_files.refuse(session, session.merge(row))
        raise
    except OSError as error:
        raise Unavailable(f"the file cannot be stored just now: {error}") from error


Joined = Annotated[None, Depends(joined, scope="function")]
"""Comes before everything that needs a session."""
