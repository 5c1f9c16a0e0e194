"""How does a client follow a job? By streams of server-sent events, each resumed after the last event received.

Knows the format of the streams. Does not know what the events mean; the caller does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx2

from hsu_client.problem import UNREACHED, Problem, Unreachable

SILENCE = 45.0
"""Seconds without any data, not even the service's comments, after which a connection counts as broken."""
_PAUSE = 1.0


class Points(NamedTuple):
    """The values recorded at some steps, in ascending order of steps."""

    steps: list[int]
    times: list[float]
    """Seconds since the epoch."""
    values: dict[tuple[str | None, str], list[float | None]]
    """By layer (None for the whole model) and measure; None where a series has no value."""

    @classmethod
    def of(cls, view: Mapping[str, Any]) -> Points:
        """The points in a message."""
        names = [(series["layer"], series["measure"]) for series in view["series"]]
        # float() also reads "NaN", "Infinity" and "-Infinity", which JSON's numbers cannot hold
        columns = [[None if value is None else float(value) for value in column] for column in view["values"]]
        return cls(view["steps"], view["times"], dict(zip(names, columns, strict=True)))


class Rollback(NamedTuple):
    """The job resumed from a checkpoint: earlier points from this step on are void, and are sent again."""

    step: int


def follow(
    http: httpx2.Client, path: str, *, params: Mapping[str, Any], after: str = "", patience: float
) -> Iterator[httpx2.ServerSentEvent]:
    """The events of a stream until its end; waits up to `patience` seconds for a service that is away."""
    heard, pause = time.monotonic(), _PAUSE
    while True:
        failure: Exception | None = None
        try:
            with _connected(http, path, params, after) as source:
                _check(source.response)
                try:
                    for event in source:
                        after, pause = event.id or after, event.retry / 1000 if event.retry else pause
                        if event.event == "end":
                            return
                        if event.event == "unauthorized":
                            raise Problem.at_the_end(json.loads(event.data))
                        if event.data:
                            yield event
                finally:
                    heard = time.monotonic()
        except UNREACHED as error:
            failure = Unreachable(f"no answer from {http.base_url}: {error or type(error).__name__}")
        except Problem as problem:
            if problem.status != httpx2.codes.SERVICE_UNAVAILABLE:
                raise
            failure = problem
        if failure and time.monotonic() - heard > patience:
            raise failure
        time.sleep(min(pause, patience))


def _connected(http: httpx2.Client, path: str, params: Mapping[str, Any], after: str) -> Any:
    headers = {"Last-Event-ID": after} if after else {}
    timeout = httpx2.Timeout(http.timeout.connect, read=SILENCE)
    return http.sse(path, params=params, headers=headers, timeout=timeout, max_event_size=None)


def _check(answer: httpx2.Response) -> None:
    if not answer.is_success:
        answer.read()
        raise Problem.of(answer)
