"""Traces: what a request asks of the database hangs below it, as a collector hears it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from typing import Any

import httpx2
import pytest
from samples import DIGITS
from serving import serving
from waiting import until

New = Callable[[], AbstractContextManager[str]]
pytestmark = pytest.mark.skipif(find_spec("opentelemetry.exporter") is None, reason="needs the extra otel")


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """A collector's address, and what it was sent."""
    sent: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is its parent's
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", sent
        server.shutdown()
        thread.join()


def spans(sent: list[bytes]) -> list[Any]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    requests = [ExportTraceServiceRequest.FromString(body) for body in list(sent)]
    scopes = [scope for request in requests for resource in request.resource_spans for scope in resource.scope_spans]
    return [span for scope in scopes for span in scope.spans]


def test_a_submission_and_its_sql_are_one_trace(
    new_database: New, new_redis: New, collector: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, sent = collector
    otel = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SERVICE_NAME": "hsu", "OTEL_BSP_SCHEDULE_DELAY": "200"}
    for name, value in otel.items():
        monkeypatch.setenv(name, value)
    with new_database() as database_url, new_redis() as redis_url, serving(database_url, redis_url) as served:
        headers = {"Authorization": f"Bearer {_key(database_url, redis_url)}"}
        assert httpx2.post(f"{served.url}/v1/jobs", json=DIGITS, headers=headers).status_code == 201
        until(lambda: any(span.name == "POST /v1/jobs" for span in spans(sent)), seconds=20)
        until(lambda: any(span.name.startswith("INSERT") for span in spans(sent)), seconds=20)
    (request,) = [span for span in spans(sent) if span.name == "POST /v1/jobs"]
    own = [span.name.split()[0] for span in spans(sent) if span.trace_id == request.trace_id]
    assert "INSERT" in own
    assert "SELECT" in own
    assert "EVALSHA" in own or "EVAL" in own
    assert not any("readyz" in span.name for span in spans(sent))
    assert headers["Authorization"][-20:].encode() not in b"".join(sent)


def test_without_a_collector_nothing_of_it_is_imported() -> None:
    heavy = "{'opentelemetry.exporter', 'opentelemetry.instrumentation'}"
    question = f"import sys; from api.app import create_app; create_app(); sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", question], check=False).returncode == 0


def _key(database_url: str, redis_url: str) -> str:
    command = [sys.executable, "-m", "hsu_jobs.admin", "create-key", "--user", "ada", "--expires", "1"]
    environment = os.environ | {"HSU_DATABASE_URL": database_url, "HSU_REDIS_URL": redis_url}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()
