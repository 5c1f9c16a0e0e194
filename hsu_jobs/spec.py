"""What may be submitted? A training spec, and what only a service needs to know of it.

Knows names, tags and limits. Knows nothing of who submits it or when it runs.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from pydantic import Field, StringConstraints

from hsu_core.spec import Spec, TrainingSpec

Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=64)]


class Limits(Spec):
    """When to give up."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    """Attempts that may end in a crash or a lost worker before the job fails."""


class JobSpec(TrainingSpec):
    """A training run with a name, as people submit it."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] = "untitled"
    tags: Annotated[tuple[Tag, ...], Field(max_length=32)] = ()
    limits: Limits = Limits()

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what is trained, in canonical JSON: equal for jobs that must give equal results."""
        content = self.model_dump(mode="json", exclude={"name", "tags", "limits"})
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
