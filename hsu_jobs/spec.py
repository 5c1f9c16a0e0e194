"""What may be submitted? A network to train or points to place, and what only a service needs to know of it.

Knows names, tags and limits. Knows nothing of who submits it or when it runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, TypeAdapter

from hsu_core.spec import PointsSpec, Spec, TrainingSpec
from hsu_core.spec.values import fault

Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=64)]


class Limits(Spec):
    """When to give up."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    """Attempts that may end in a crash or a lost worker before the job fails."""


class Envelope(Spec):
    """What stands on every job, whatever is in it: nothing here changes the result."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] = "untitled"
    tags: Annotated[tuple[Tag, ...], Field(max_length=32)] = ()
    limits: Limits = Limits()

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what is in the envelope, in canonical JSON: equal for jobs that must give equal results."""
        content = self.model_dump(mode="json", exclude=set(Envelope.model_fields))
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class TrainingJob(TrainingSpec, Envelope):
    """A training run, as people submit it."""


class PointsJob(PointsSpec, Envelope):
    """Points to be placed on a sphere, as people submit it."""


TASKS = ("classification", "points")


def _with_task(value: object) -> object:
    """A spec that names its task: without one it is about classification."""
    if not isinstance(value, Mapping):
        return value
    named: dict[Any, Any] = {"task": TASKS[0], **value}
    if named["task"] not in TASKS:
        raise fault("task", "unknown_task", f"there are the tasks {', '.join(TASKS)}, found {named['task']!r}")
    return named


JobSpec = Annotated[TrainingJob | PointsJob, Discriminator("task"), BeforeValidator(_with_task)]
_JOB_SPEC: TypeAdapter[TrainingJob | PointsJob] = TypeAdapter(JobSpec)


def parse(value: object) -> JobSpec:
    """The job that a tree of plain values asks for. Raises pydantic's `ValidationError`."""
    return _JOB_SPEC.validate_python(value)
