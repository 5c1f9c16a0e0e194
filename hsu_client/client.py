"""Submit jobs, follow them and read their curves from Python.

    with Client("http://127.0.0.1:8000", key) as client:
        job = client.submit({"dataset": {"kind": "digits"}, ...})
        for view in client.follow(job["id"]):
            print(view["state"], view["step"])

Knows the HTTP interface and nothing else of the service: needs neither torch nor a database.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx2

from hsu_client.problem import Problem, Unreachable

Job = dict[str, Any]
"""A job as the service shows it: id, name, state, step, result, failure, attempts and more."""

ENDED = frozenset({"succeeded", "failed", "cancelled"})
"""The states that a job never leaves."""


class Curve(NamedTuple):
    """One measured quantity over steps."""

    layer: str | None
    """None for what is measured of the whole model."""
    measure: str
    steps: list[int]
    values: list[float]
    random: float | None = None
    """What uniformly random points of the layer's shape would have."""
    optimum: float | None = None
    """What the best ones have, where that is proven."""


class Client:
    """A connection to one service with one API key. Errors are `Problem` (it refused) and `Unreachable`."""

    def __init__(self, url: str, key: str, *, timeout: float = 30.0) -> None:
        """`timeout` in seconds, for each request."""
        if not key.isascii() or not key.strip():
            raise ValueError("the API key is empty or holds characters that no key has")
        self._http = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key.strip()}"}, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def submit(self, spec: Mapping[str, Any], *, idempotency_key: str | None = None) -> Job:
        """Queue a job. With a key, sending the same spec again gives the same job: safe to repeat when unsure."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._ask("POST", "/v1/jobs", json=spec, headers=headers)

    def job(self, job_id: int) -> Job:
        """One job."""
        return self._ask("GET", f"/v1/jobs/{job_id}")

    def jobs(self, *, state: str | None = None, page: int = 100) -> Iterator[Job]:
        """Your jobs, newest first (everyone's for an admin), fetched a page at a time as they are needed."""
        cursor = None
        while True:
            chosen = {"limit": page, "state": state, "cursor": cursor}
            answer = self._ask("GET", "/v1/jobs", params={name: value for name, value in chosen.items() if value})
            yield from answer["jobs"]
            cursor = answer["next_cursor"]
            if cursor is None:
                return

    def cancel(self, job_id: int) -> Job:
        """Ask a job to stop. A queued job stops at once, a running one soon after."""
        return self._ask("POST", f"/v1/jobs/{job_id}/cancel")

    def curves(
        self,
        job_id: int,
        *,
        layers: Sequence[str] = (),
        measures: Sequence[str] = (),
        relative_to: str | None = None,
    ) -> list[Curve]:
        """A job's curves, also while it runs; all of them unless layers or measures are named.

        `relative_to` "random" or "optimum": the gap to that reference, for the curves that have it.
        """
        chosen: dict[str, Any] = {"layer": list(layers), "measure": list(measures)}
        if relative_to:
            chosen["relative_to"] = relative_to
        answer = self._ask("GET", f"/v1/jobs/{job_id}/curves", params=chosen)
        return [
            # float() also reads "NaN", "Infinity" and "-Infinity", which JSON's numbers cannot hold
            Curve(**curve | {"values": [float(value) for value in curve["values"]]})
            for curve in answer["curves"]
        ]

    def catalog(self) -> dict[str, Any]:
        """Everything that a spec may hold, with the JSON Schema of each choice."""
        return self._ask("GET", "/v1/catalog")

    def follow(self, job_id: int, *, poll: float = 0.5, patience: float = 60.0) -> Iterator[Job]:
        """The job every `poll` seconds until it ended, its end included.

        A service that does not answer, or is not ready (503), is waited for `patience` seconds.
        """
        heard = time.monotonic()
        while True:
            try:
                view = self.job(job_id)
            except (Unreachable, Problem) as error:
                passes = isinstance(error, Unreachable) or error.status == httpx2.codes.SERVICE_UNAVAILABLE
                if not passes or time.monotonic() - heard > patience:
                    raise
            else:
                heard = time.monotonic()
                yield view
                if view["state"] in ENDED:
                    return
            time.sleep(poll)

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **request)
        except httpx2.TransportError as error:
            raise Unreachable(f"no answer from {self._http.base_url}: {error or type(error).__name__}") from error
        if not answer.is_success:
            raise Problem.of(answer)
        return _object(answer)


def _object(answer: httpx2.Response) -> dict[str, Any]:
    """The JSON object that an answer holds."""
    try:
        told = answer.json()
    except ValueError:
        told = answer.text
    if not isinstance(told, dict):
        raise Unreachable(f"{answer.url} is not an HSU service: it answered with {str(told)[:60]!r}")
    return told
