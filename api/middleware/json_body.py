"""Is a body JSON that can be read? Checked before any route: its coding, type, characters and depth.

The body of a PUT is bytes, which its route reads itself.

Knows ASGI and JSON. Knows no route: the types of each route say what the values mean.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from email.message import Message as Head
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import respond, shortened
from hsu_jobs.errors import BadRequest, BodyTooLarge, JobsError, UnsupportedMediaType

MOST_LEVELS = 32
"""Levels of lists and objects; a spec in a bulk has five."""
MOST_MEMBERS = 1_000
"""Keys of one object: more than any valid object has."""
MOST_DIGITS = 400
"""Characters of one number: a double's shortest form has up to 24, its longest exact one, without an exponent, 309."""
CODINGS = {"utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"}
"""The codings that `json.detect_encoding` recognises."""
_WITH_BODY = frozenset({"POST", "PATCH", "DELETE"})


class JsonBody:
    """ASGI middleware: a body that is not acceptable JSON is answered 400 or 415, with what was found."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] not in _WITH_BODY:
            await self.app(scope, receive, send)
            return
        try:
            body = await _whole(receive)
            if body:
                check(body, Headers(scope=scope))
        except HTTPException as error:  # from BodyLimit, which refuses in a way that is made for routes
            await respond(BodyTooLarge(error.detail))(scope, receive, send)
        except JobsError as error:
            await respond(error)(scope, receive, send)
        except ClientDisconnect:
            return
        else:
            await self.app(scope, _again(body, receive), send)


def check(body: bytes, headers: Headers) -> None:
    """Raise `BadRequest` or `UnsupportedMediaType` unless this is JSON of an accepted depth and size."""
    charset = _check_type(headers)
    text = _decoded(body, charset)
    try:
        value = json.loads(text, **_HOOKS)
    except json.JSONDecodeError as error:
        found = f"found {shortened(text[error.pos :], 20)!r}" if text[error.pos :] else "found its end"
        where = f"line {error.lineno}, column {error.colno}"
        raise BadRequest(f"the body is not valid JSON: {error.msg} at {where}, {found}") from error
    except RecursionError as error:
        raise _too_deep() from error
    if _levels(value) > MOST_LEVELS:
        raise _too_deep()


async def _whole(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return the body that was read, then the messages that follow."""
    replayed: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def again() -> Message:
        return next(replayed, None) or await receive()

    return again


def _check_type(headers: Headers) -> str:
    """The declared charset, in lower case; empty if none is declared."""
    if (coding := headers.get("content-encoding", "identity").strip().lower()) not in ("identity", ""):
        raise UnsupportedMediaType(
            f"a body is taken as it is, without a Content-Encoding; found {shortened(coding, 40)!r}", accepts="identity"
        )
    head = Head()
    head["content-type"] = headers.get("content-type", "")
    kind = head.get_content_type() if headers.get("content-type") else ""
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        found = repr(shortened(headers.get("content-type", ""), 80)) if kind else "none"
        raise UnsupportedMediaType(f"a body is JSON, with Content-Type: application/json; found {found}")
    return str(head.get_param("charset") or "").lower()


def _decoded(body: bytes, charset: str) -> str:
    if charset.replace("_", "-") not in CODINGS | {"", "utf8", "us-ascii", "ascii"} and not body.isascii():
        raise UnsupportedMediaType(f"a body is JSON in UTF-8; found charset={shortened(charset, 40)!r}")
    if body.startswith(b"\x1f\x8b"):
        raise BadRequest("the body is not JSON in UTF-8: it begins as gzip does, and a body is taken uncompressed")
    try:
        return body.decode(json.detect_encoding(body))
    except UnicodeDecodeError as error:
        found = f"byte 0x{body[error.start]:02x} at {error.start}" if error.start < len(body) else "its end"
        detail = f"the body is not JSON in UTF-8: found {found}; is it in Latin-1 or compressed?"
        raise BadRequest(detail) from error


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; each key may occur only once, since parsers differ in which of two values they take."""
    if len(pairs) > MOST_MEMBERS:
        begins = ", ".join(repr(shortened(name, 20)) for name, _ in pairs[:3])
        raise BadRequest(
            f"an object in a body may have {MOST_MEMBERS:,} keys at most, found {len(pairs):,}; it begins with {begins}"
        )
    made = dict(pairs)
    if len(made) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise BadRequest(f"an object in a body has each key once, found {shortened(twice, 60)!r} twice")
    return made


def _whole_number(digits: str) -> int:
    _check_length(digits)
    return int(digits)


def _number(digits: str) -> float:
    _check_length(digits)
    if math.isinf(float(digits)):
        raise BadRequest(f"a number in a body may be 1.8e308 at most, found {shortened(digits, 40)}")
    return float(digits)


def _no_number(word: str) -> float:
    raise BadRequest(f"JSON has no number {word}: where one may stand, write it as a string")


_HOOKS: dict[str, Any] = {
    "object_pairs_hook": _members,
    "parse_int": _whole_number,
    "parse_float": _number,
    "parse_constant": _no_number,
}


def _check_length(digits: str) -> None:
    if len(digits) > MOST_DIGITS:
        raise BadRequest(
            f"a number in a body may have {MOST_DIGITS} digits at most, found {len(digits):,}: {shortened(digits, 40)}"
        )


def _levels(value: object) -> int:
    """The levels of lists and objects; one above the limit stands for any higher number."""
    here = [value] if isinstance(value, dict | list) else []
    levels = 0
    while here and levels <= MOST_LEVELS:
        levels += 1
        within = (each for node in here for each in (node.values() if isinstance(node, dict) else node))
        here = [each for each in within if isinstance(each, dict | list)]
    return levels


def _too_deep() -> BadRequest:
    return BadRequest(f"lists and objects in a body may stand {MOST_LEVELS} within each other at most, found more")
