"""Logs: what a job's attempts printed, live while they run and permanently afterwards."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from api.dependencies.jobs import OwnedAttempt
from api.dependencies.session import Session
from api.problems import problems
from api.streams import log
from api.streams.access import LongLived
from api.streams.wakeups import LiveWakeups
from hsu_core.spec.values import EXACT
from hsu_jobs.errors import BadRequest, NotFound, Unauthorized, UpgradeRequired

router = APIRouter(prefix="/v1/jobs", tags=["log"])

_NUMBER = {"schema": {"type": "integer"}}
LOG: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What was printed, in UTF-8; what is none is replaced by U+FFFD.",
        "content": {"text/plain": {}},
        "headers": {
            "HSU-Attempt": {"description": "The attempt that printed it.", **_NUMBER},
            "HSU-First-Byte": {
                "description": "Where this part begins: later than `from_byte` if the oldest lines are gone.",
                **_NUMBER,
            },
            "HSU-Next-Byte": {"description": "The `from_byte` to read on from; not with `follow`.", **_NUMBER},
        },
    }
}


@router.get(
    "/{job_id}/log",
    response_class=PlainTextResponse,
    responses=LOG | problems(BadRequest, Unauthorized, NotFound, UpgradeRequired),
)
def read_log(
    attempt: OwnedAttempt,
    session: Session,
    wakeups: LiveWakeups,
    long_lived: LongLived,
    tail: Annotated[int | None, Query(ge=0, le=1_000_000, description="Only so many last lines.")] = None,
    from_byte: Annotated[int, Query(ge=0, le=EXACT, description="Only what comes after so many bytes.")] = 0,
    follow: Annotated[bool, Query(description="Stay, and send what comes, until the attempt has ended.")] = False,  # noqa: FBT002
) -> Response:
    """What an attempt's process printed; the newest `HSU_LOG_LIMIT` bytes are kept."""
    part = log.read(session, attempt, first_byte=from_byte, tail=tail)
    headers = {"HSU-Attempt": str(attempt.number), "HSU-First-Byte": str(part.first_byte)}
    if not follow:
        return PlainTextResponse(part.text, headers=headers | {"HSU-Next-Byte": str(part.next_byte)})
    headers |= {"X-Accel-Buffering": "no"}
    text = log.follow(wakeups, attempt, part.first_byte, access=long_lived.begin())
    return StreamingResponse(text, headers=headers, media_type="text/plain; charset=utf-8")
