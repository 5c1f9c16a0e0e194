"""How does a process report what it does? One line for each event on stderr: for people, or as JSON for machines.

Knows Python's logging. What belongs to an attempt carries its `job` and `attempt`, what belongs to a request its
`request_id`.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from hsu_jobs.settings import Settings

_CHATTY = ("alembic", "celery.app.trace", "celery.beat", "celery.worker.strategy", "httpx2")
"""They log each message, request or look at the schema, every few seconds."""
_OF_SERVERS = ("uvicorn", "uvicorn.error")
_request: ContextVar[str | None] = ContextVar("request", default=None)


@contextmanager
def of_request(request_id: str) -> Iterator[None]:
    """Let every log line of this context carry the request's id."""
    token = _request.set(request_id)
    try:
        yield
    finally:
        _request.reset(token)


def request_id() -> str | None:
    """The id of the request that is being answered, if one is."""
    return _request.get()


def set_up(settings: Settings) -> None:
    """Write every log line of this process in this format, also those of the web server."""
    handler = _ToOperator(sys.stderr)
    handler.setFormatter(_formatter(settings))
    handler.addFilter(_tell_of_request)
    root = logging.getLogger()
    for earlier in [each for each in root.handlers if isinstance(each, _ToOperator)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    for name in _OF_SERVERS:
        logger = logging.getLogger(name)
        if logger.handlers:  # without any it is silenced, as uvicorn does with --no-access-log
            logger.handlers.clear()
            logger.propagate = True
    own_lines = logging.getLogger("uvicorn.access")  # uvicorn then leaves them to the app, which knows more
    own_lines.handlers.clear()
    own_lines.propagate = False
    for name in _CHATTY if settings.log_level == "info" else ():
        logging.getLogger(name).setLevel(logging.WARNING)


class _ToOperator(logging.StreamHandler[TextIO]):
    """Our handler, distinguishable from those of others."""


class About(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines carry fields: in front for people, beside the message for machines."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the fields."""
        fields: Mapping[str, object] = self.extra or {}
        kwargs["extra"] = {**fields, "about": " ".join(f"{name} {value}" for name, value in fields.items()) + ": "}
        return msg, kwargs


def _tell_of_request(record: logging.LogRecord) -> bool:
    if (request := _request.get()) is not None:
        record.request_id = request
        record.about = f"request {request} {getattr(record, 'about', '')}".rstrip(": ") + ": "
    return True


def _formatter(settings: Settings) -> logging.Formatter:
    if settings.log_format == "json":
        return _JsonLines(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            static_fields={"service": "hsu"},
            reserved_attrs=[*_RESERVED, "about"],
        )
    text = "%(asctime)s %(levelname)s %(name)s: %(about)s%(message)s"
    return _TextLines(text, defaults={"about": ""})


class _InUtc(logging.Formatter):
    """Times are RFC 3339 in UTC, whatever the zone of the machine: `2026-11-27T15:09:35.123Z`."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's
        """When the line was written, to the millisecond."""
        return f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}Z"


class _TextLines(_InUtc):
    """A line begins with its time; what belongs to it on further lines is indented.

    So no name or message of a user, with newlines in it, looks like a line of ours, and none controls a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        first, *others = super().format(record).splitlines() or [""]
        return "\n".join([_visible(first), *(f"    {_visible(line)}" for line in others)])


class _JsonLines(JsonFormatter, _InUtc):
    """JSON escapes control characters by itself."""


def _visible(line: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), line)


_CONTROL = re.compile("(?!\t)[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that control a terminal or reorder a line."""
_RESERVED = [*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"]
