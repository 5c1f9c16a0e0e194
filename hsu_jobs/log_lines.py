"""How does a process tell its operator what it does? A line an event on stderr: for people, or as JSON for machines.

Knows Python's logging. What belongs to an attempt carries its `job` and `attempt`, what belongs to a request its
`request_id`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from hsu_jobs.settings import Settings

_CHATTY = ("alembic", "celery.app.trace", "celery.beat", "celery.worker.strategy", "httpx2")
"""They tell of each message, request or look at the schema, every few seconds."""
_OF_SERVERS = ("uvicorn", "uvicorn.error")
_request: ContextVar[str | None] = ContextVar("request", default=None)


@contextmanager
def of_request(request_id: str) -> Iterator[None]:
    """Let every line of this context carry the request's id."""
    token = _request.set(request_id)
    try:
        yield
    finally:
        _request.reset(token)


def request_id() -> str | None:
    """The id of the request that is being answered, if one is."""
    return _request.get()


def set_up(settings: Settings) -> None:
    """Write every log line of this process so, also those of the web server."""
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
    """Ours, to be told from those of others."""


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
        return JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            static_fields={"service": "hsu"},
            reserved_attrs=[*_RESERVED, "about"],
        )
    text = "%(asctime)s %(levelname)s %(name)s: %(about)s%(message)s"
    return logging.Formatter(text, defaults={"about": ""})


_RESERVED = [*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"]
