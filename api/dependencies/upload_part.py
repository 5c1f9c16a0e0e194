"""What is the content of a part? The bytes of the body, read once the key is known, and up to the size of a part."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from api.dependencies.auth import Viewer
from hsu_jobs.errors import BodyTooLarge, UnsupportedMediaType
from hsu_jobs.settings import settings

MEDIA_TYPE = "application/octet-stream"
DOCUMENTED: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            MEDIA_TYPE: {"schema": {"type": "string", "format": "binary", "maxLength": 2**28, "examples": ["PK…"]}}
        },
    }
}
"""For the OpenAPI document: FastAPI describes no body that it does not read itself."""


async def content(request: Request, _key: Viewer) -> bytes:
    """The whole body. Raises `BodyTooLarge` or `UnsupportedMediaType`."""
    _check_type(request)
    most, pieces, arrived = settings().part_bytes, [], 0
    async for piece in request.stream():
        arrived += len(piece)
        if arrived > most:
            raise BodyTooLarge(f"a part may have {most:,} bytes at most")
        pieces.append(piece)
    return b"".join(pieces)


def _check_type(request: Request) -> None:
    kind = request.headers.get("content-type", MEDIA_TYPE).partition(";")[0].strip().lower()
    if kind != MEDIA_TYPE:
        raise UnsupportedMediaType(f"a part is sent with Content-Type: {MEDIA_TYPE}; found {kind[:80]!r}")
    if (coding := request.headers.get("content-encoding", "identity").strip().lower()) not in ("identity", ""):
        detail = f"a body is taken as it is, without a Content-Encoding; found {coding[:40]!r}"
        raise UnsupportedMediaType(detail, accepts="identity")


PartContent = Annotated[bytes, Depends(content, scope="function")]
"""Comes before everything that needs a session: nobody waits for a slow upload."""
