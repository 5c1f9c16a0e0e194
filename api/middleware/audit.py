"""Which requests does the audit log record? Those that change something or try to, and refused keys that are known.

A change is recorded in the transaction that makes it, a refusal in a separate one.
"""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import Request, Response
from sqlalchemy import exc
from sqlalchemy.orm import Session

from api.middleware import request_state
from api.middleware.request_state import RequestState
from hsu_jobs import database
from hsu_jobs.errors import TooManyRequests
from hsu_jobs.tables import ApiKey, AuditRow

_log = logging.getLogger(__name__)


def write(session: Session, request: Request, response: Response) -> None:
    """Record what this transaction did, if it belongs to a request that changes something."""
    own = request_state.current(request.scope)
    if own.key is None or not own.may_change:
        return
    answer = own.response or response
    status = answer.status_code or getattr(request.scope["route"], "status_code", None) or HTTPStatus.OK
    location = answer.headers.get("location")
    session.add(_line(own, own.key, status=status, came={"location": location} if location else {}))
    database.after_commit(session, own.audited)


def is_missing(own: RequestState) -> bool:
    """Whether the line of a finished request is missing."""
    was_counted_out = own.status == TooManyRequests.status
    return own.key is not None and (own.may_change or own.is_refused) and not own.is_audited and not was_counted_out


def write_late(own: RequestState) -> None:
    """Write the line of a finished request that has none."""
    assert own.key is not None
    try:
        with database.transaction() as session:
            session.add(_line(own, own.key, status=own.status, came={}))
    except exc.SQLAlchemyError as error:
        _log.error("the audit log lacks %s %s, answered %d: %s", own.method, own.route, own.status, error)


def _line(own: RequestState, key: ApiKey, *, status: int, came: dict[str, str]) -> AuditRow:
    named = {name: str(value).replace("\x00", "") for name, value in own.scope.get("path_params", {}).items()}
    return AuditRow(
        user=key.user.name,
        key_prefix=key.prefix,
        address=own.address,
        request_id=own.request_id,
        action=f"{own.method} {own.route}",
        subject=named | came,
        status=status,
    )
