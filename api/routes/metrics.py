"""Metrics: the cluster in numbers, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable
from hmac import compare_digest
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from api.dependencies.auth import Credentials, holder
from api.dependencies.session import Session
from api.middleware import metrics as request_metrics
from api.problems import problems
from hsu_jobs.cluster import metrics as cluster_metrics
from hsu_jobs.cluster.metrics import Gauge
from hsu_jobs.errors import Forbidden, Unauthorized
from hsu_jobs.settings import settings
from hsu_jobs.tables import Role

router = APIRouter(tags=["health"])


async def scraper(request: Request, credentials: Credentials) -> None:
    """Require an admin's key, or the token of Prometheus. Raises `Unauthorized` or `Forbidden`."""
    token = settings().metrics_token
    if token and credentials and compare_digest(credentials.credentials.encode(), token.get_secret_value().encode()):
        return
    key = await holder(request, credentials)
    if key.role is not Role.ADMIN:
        raise Forbidden(f"the metrics show every user's use: this needs an admin's key, found a {key.role}'s")


Scraper = Annotated[None, Depends(scraper, scope="function")]
"""A caller who may read all users' numbers."""


class _Read(Collector):
    """The metrics that were read, for Prometheus' own writer."""

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
        **problems(Unauthorized, Forbidden),
    },
)
def read_metrics(_scraper: Scraper, session: Session) -> Response:
    """The cluster in numbers, and how this web service answers; for admins' keys, and for `HSU_METRICS_TOKEN`.

    They include all users' use.

    Queue depth and waits, attempts by outcome, GPUs in use, when each worker last reported; requests by route and
    status, the time until their answers began, and the streams under way.
    """
    registry = CollectorRegistry()
    request_metrics.register(registry)
    registry.register(_Read(cluster_metrics.read(session)))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
