"""How does a client stay with a job? By streams of server-sent events, each resumed after the last one that came.

Knows the wire. What the events mean is the caller's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx2

from hsu_client.problem import UNREACHED, Problem, Unreachable

SILENCE = 45.0
"""Seconds without a word, not even the service's comments, after which a connection counts as broken."""
_PAUSE = 1.0


class Points(NamedTuple):
    """What was recorded at some steps, in ascending order."""

    steps: list[int]
    times: list[float]
    """Seconds since the epoch."""
    values: dict[tuple[str | None, str], list[float | None]]
    """By layer (None for the whole model) and measure; None where a series has no value."""

    @classmethod
    def of(cls, view: Mapping[str, Any]) -> Points:
        """The points that a message holds."""
        names = [(series["layer"], series["measure"]) for series in view["series"]]
        # float() also reads "NaN", "Infinity" and "-Infinity", which JSON's numbers cannot hold
        columns = [[None if value is None else float(value) for value in column] for column in view["values"]]
        return cls(view["steps"], view["times"], dict(zip(names, columns, strict=True)))


class Rollback(NamedTuple):
    """The job went on from a checkpoint: what came before is void from this step on, and comes anew."""

    step: int


def follow(
    http: httpx2.Client, path: str, *, params: Mapping[str, Any], after: str = "", patience: float
) -> Iterator[httpx2.ServerSentEvent]:
    """What a stream sends until its end; a service that is away is waited for `patience` seconds."""
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
