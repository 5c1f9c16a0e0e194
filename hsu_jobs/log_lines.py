"""How does a process tell its operator what it does? A line an event on stderr: for people, or as JSON for machines.

Knows Python's logging. What belongs to an attempt carries its `job` and `attempt`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from hsu_jobs.settings import Settings

_CHATTY = ("alembic", "celery.app.trace", "celery.beat", "celery.worker.strategy", "httpx2")
"""They tell of each message, request or look at the schema, every few seconds."""
_OF_SERVERS = ("uvicorn", "uvicorn.access", "uvicorn.error")


def set_up(settings: Settings) -> None:
    """Write every log line of this process so, also those of the web server."""
    handler = _ToOperator(sys.stderr)
    handler.setFormatter(_formatter(settings))
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
