"""How is this web service doing, in numbers? Requests by route and status, their durations, and open streams.

Each API process counts for itself. If several share one address, set PROMETHEUS_MULTIPROC_DIR to an empty folder: then
each reports the numbers of all. The cluster's own numbers are `hsu_jobs.cluster.metrics`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api.middleware.request_state import RequestState

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

REQUESTS = Counter("hsu_http_requests", "Requests answered.", ("method", "route", "status"), registry=None)
SECONDS = Histogram(
    "hsu_http_seconds", "Time until the answer began.", ("method", "route"), buckets=_BUCKETS, registry=None
)
STREAMS = Gauge(
    "hsu_http_streams", "Answers of unknown length under way.", ("route",), registry=None, multiprocess_mode="livesum"
)


class RequestMetrics:
    """Counts one request."""

    def __init__(self, own: RequestState) -> None:
        self._own = own
        self._is_stream = False

    def __enter__(self) -> Self:
        return self

    def begins(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """The answer begins, with these headers."""
        SECONDS.labels(self._own.method, self._own.route).observe(self._own.seconds)
        self._is_stream = not any(name.lower() == b"content-length" for name, _ in headers)
        if self._is_stream:
            STREAMS.labels(self._own.route).inc()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        REQUESTS.labels(self._own.method, self._own.route, str(self._own.status)).inc()
        if self._is_stream:
            STREAMS.labels(self._own.route).dec()


def register(registry: CollectorRegistry) -> None:
    """Add these numbers to a registry: those of this process, or of all that share PROMETHEUS_MULTIPROC_DIR."""
    own: tuple[Collector, ...] = (REQUESTS, SECONDS, STREAMS)
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return
    for meter in own:
        registry.register(meter)
