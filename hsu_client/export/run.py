"""What do other tools need of a job? Its curves under flat names, its spec as flat parameters, its times.

Knows the client. Knows none of the tools.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import repeat
from typing import Any, NamedTuple

from hsu_client.answers import ENDED, Curve, Job
from hsu_client.client import Client


class Row(NamedTuple):
    """The values measured at one step."""

    step: int
    time: float | None
    """Seconds since the epoch; None where that is not known."""
    values: dict[str, float]
    """By name, `layer/measure`."""


class Run(NamedTuple):
    """A job with all its curves."""

    job: Job
    curves: list[Curve]

    @property
    def name(self) -> str:
        """A valid file name, unique among the jobs of a service: `3-digits-with-mhe`."""
        words = re.sub(r"[^a-z0-9]+", "-", self.job["name"].lower()).strip("-")[:60].strip("-")
        return f"{self.job['id']}-{words}" if words else str(self.job["id"])

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be measured."""
        return self.job["state"] in ENDED

    @property
    def began(self) -> float:
        """When it started, or was submitted if it has not, in seconds since the epoch."""
        began = seconds(self.job["started_at"]) or seconds(self.job["created_at"])
        assert began is not None
        return began

    @property
    def ended(self) -> float | None:
        """When it ended, in seconds since the epoch."""
        return seconds(self.job["finished_at"])

    @property
    def parameters(self) -> dict[str, bool | int | float | str]:
        """The spec, flat: `optimizer.lr`. Fields that are not set are left out; a list is written as JSON."""
        return dict(_flat(self.job["spec"]))

    @property
    def result(self) -> dict[str, float]:
        """The numbers of the job's result."""
        found = self.job["result"] or {}
        own = found.get("values")  # of a tracked run: what its loop named
        numbers = ((name, _number(value)) for name, value in (own if isinstance(own, dict) else found).items())
        return {name: number for name, number in numbers if number is not None}

    def rows(self) -> Iterator[Row]:
        """All measured values, step by step; the job's result is in the last row, as `result/…`."""
        steps: dict[int, Row] = {}
        for curve in self.curves:
            times = curve.times or repeat(None, len(curve.steps))
            for step, time, value in zip(curve.steps, times, curve.values, strict=True):
                row = steps.setdefault(step, Row(step, time, {}))
                row.values[label(curve)] = value
        last = Row(max(steps, default=self.job["step"]), self.ended, {})
        if self.result:
            row = steps.setdefault(last.step, last)
            row.values.update({f"result/{name}": value for name, value in self.result.items()})
        for step in sorted(steps):
            yield steps[step]


def read(client: Client, job_id: int) -> Run:
    """A job and all its curves, as they are now."""
    return Run(client.job(job_id), client.curves(job_id, times=True))


def label(curve: Curve) -> str:
    """A curve's flat name."""
    return f"{curve.layer}/{curve.measure}" if curve.layer else curve.measure


def seconds(at: str | None) -> float | None:
    """A time as the service writes it, in seconds since the epoch."""
    return None if at is None else datetime.fromisoformat(at).timestamp()


def finite(value: float) -> float | str:
    """A number as JSON can hold it: NaN and infinities as strings."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _flat(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, bool | int | float | str]]:
    for name, value in spec.items():
        match value:
            case dict():
                yield from _flat(value, f"{prefix}{name}.")
            case list():
                yield f"{prefix}{name}", json.dumps(value)
            case None:
                continue
            case _:
                yield f"{prefix}{name}", value


def _number(value: object) -> float | None:
    """A number of a result, also from a string such as "NaN", which stands for a number that JSON lacks."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and value not in ("NaN", "Infinity", "-Infinity"):
        return None
    return float(value)
