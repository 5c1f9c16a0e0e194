"""How is another tool's run written to the service, once?

It becomes a tracked run with a tag of what it is called there. A run with this tag that has ended is the same run, and
is left as it is; one that was broken off, or that had not ended there, is written anew from its first step on.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

from hsu_client.answers import ENDED
from hsu_client.client import Client
from hsu_client.importing.source import ForeignRun, History
from hsu_client.problem import Problem, Unreachable
from hsu_client.tracking.columns import encode_histories

MOST_POINTS = 25_000
"""Of a batch: 24 bytes each, two thirds of the largest body."""
MOST_CURVES = 500
PATIENCE = 60.0
"""Seconds for which a request is repeated while the service is away: a request that is repeated changes nothing."""


class Imported(NamedTuple):
    """What became of a run."""

    job: int
    was_there: bool
    values: int
    """How many are there."""
    grown: int = 0
    """How many more values the run has than were imported, when it was there."""


def send(client: Client, run: ForeignRun, *, again: bool = False) -> Imported:
    """Write a run, unless it is there; with `again` in any case. Raises `Problem` and `Unreachable`."""
    there = None if again else next(client.jobs(tag=run.tag), None)
    if there is not None and there["state"] in ENDED:
        before = there["spec"]["config"].get("imported", {}).get("values", run.values)
        return Imported(there["id"], was_there=True, values=before, grown=max(0, run.values - before))
    token = str(uuid.uuid4())
    if there is None:
        begun = _ask(client, "POST", "/v1/runs", json={"token": token, **_described(run)})
    else:
        begun = _ask(client, "POST", f"/v1/runs/{there['id']}/return", json={"token": token, "step": 0})
    mine = {"HSU-Token": token}
    path = f"/v1/runs/{begun['id']}"
    for number, batch in enumerate(_batches(run), start=1):
        headers = mine | {"Content-Type": "application/octet-stream"}
        _ask(client, "PUT", f"{path}/batches/{number}", content=encode_histories(batch), headers=headers)
    end: dict[str, Any] = {"how": run.how} | ({} if run.ended is None else {"ended_at": run.ended})
    if run.how == "failed":
        end["message"] = f"it failed in {run.tool}"
    _ask(client, "POST", f"{path}/end", json=end, headers=mine)
    return Imported(begun["id"], was_there=False, values=run.values)


def _described(run: ForeignRun) -> dict[str, Any]:
    origin = {"tool": run.tool, "key": run.key[:1000], "values": run.values, "left_out": run.left_out}
    described: dict[str, Any] = {
        "name": run.name.strip()[:200] or "untitled",
        "tags": [run.tag, *run.tags],
        "config": {**run.config, "imported": origin},
        "environment": dict(run.environment),
    }
    return described | ({} if run.began is None else {"began_at": run.began})


def _batches(run: ForeignRun) -> Iterator[list[History]]:
    batch, points = list[History](), 0
    for piece in _pieces(run):
        if batch and (points + len(piece.steps) > MOST_POINTS or len(batch) == MOST_CURVES):
            yield batch
            batch, points = [], 0
        batch.append(piece)
        points += len(piece.steps)
    if batch:
        yield batch


def _pieces(run: ForeignRun) -> Iterator[History]:
    for name, steps, times, values in run.histories:
        for begin in range(0, len(steps), MOST_POINTS):
            part = slice(begin, begin + MOST_POINTS)
            yield History(name, steps[part], times[part], values[part])


def _ask(client: Client, method: str, path: str, **request: Any) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return client.send_run(method, path, **request)
        except (Unreachable, Problem) as error:
            passes = isinstance(error, Unreachable) or error.status >= 500 or error.status == 429
            if not passes or time.monotonic() > deadline:
                raise
            time.sleep(0.5)
