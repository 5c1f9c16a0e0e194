"""Metrics: the cluster in numbers, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from api import meters
from api.auth import Viewer
from api.deps import Session
from api.problems import problems
from hsu_jobs import gauges
from hsu_jobs.errors import Unauthorized
from hsu_jobs.gauges import Gauge

router = APIRouter(tags=["health"])


class _Read(Collector):
    """What was read, for Prometheus' own writer."""

    def __init__(self, read: Iterable[Gauge]) -> None:
        self.read = list(read)

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        for gauge in self.read:
            family = CounterMetricFamily if gauge.is_counter else GaugeMetricFamily
            metric = family(gauge.name, gauge.about, labels=gauge.labels)
            for labels, value in gauge.values:
                metric.add_metric(labels, value)
            yield metric


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {}}, "description": "Prometheus' text format"},
        **problems(Unauthorized),
    },
)
def read_metrics(_key: Viewer, session: Session) -> Response:
    """The cluster in numbers, and how this web service answers.

    Queue depth and waits, attempts by outcome, GPUs in use, when each worker was last heard of; requests by route and
    status, the time until their answers began, and the streams under way.
    """
    registry = CollectorRegistry()
    meters.register(registry)
    registry.register(_Read(gauges.read(session)))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
