"""Where does a request's time go? OpenTelemetry traces: each request, its SQL, its calls to Redis.

FastAPI traces requests by itself; the extra `otel` adds the rest. The standard OTEL_* variables say whether, where to
and how much: without OTEL_EXPORTER_OTLP_ENDPOINT, or without the extra, nothing is imported, and nothing costs time.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

from fastapi.telemetry import TelemetryConfig
from sqlalchemy import Engine
from starlette.types import Scope

_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
"""Machines ask for these every few seconds."""


def are_wanted() -> bool:
    """Whether an endpoint for traces is set, and the extra is installed."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    is_off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not is_off and any(os.environ.get(name) for name in endpoints) and _is_installed()


def of_requests() -> TelemetryConfig:
    """How FastAPI traces requests."""
    is_on = are_wanted()
    return {
        "auto_configure": is_on,
        "tracing": is_on,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "exclude": _is_quiet,
    }


def follow(engine: Engine) -> None:
    """Trace the requests' calls to the database and to Redis too."""
    if not are_wanted():
        return
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    # It does not list SQLAlchemy 2.1 yet; a test shows that it traces its statements anyway.
    SQLAlchemyInstrumentor().instrument(engine=engine, skip_dep_check=True)
    RedisInstrumentor().instrument()


def _is_installed() -> bool:
    return find_spec("opentelemetry.instrumentation") is not None and find_spec("opentelemetry.exporter") is not None


def _is_quiet(scope: Scope) -> bool:
    return scope.get("path") in _QUIET
