"""Which names may workers, pools and users have? Such that each can stand in the path of a URL as it is.

Knows the rule. Names that were stored before there was one stay as they are, and their rows reachable.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import StringConstraints

PoolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$", max_length=64)]
WorkerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$", max_length=255)]
"""As long as a host's full name may be."""

LONGEST_STORED = 1000
"""Characters of a name in a path: longer than any that is taken now, for rows that were stored before."""


def of_host(host: str) -> str:
    """A worker's name made of its machine's: what no name may hold becomes a hyphen, and nothing is left out."""
    return re.sub(r"[^A-Za-z0-9._@+-]", "-", host).lstrip("._@+-")[:255] or "worker"
