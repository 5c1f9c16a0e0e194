"""Which names may workers, pools and users have? Those that can stand in the path of a URL unchanged.

Knows the rule. Names that were stored before the rule stay as they are, and their rows reachable.
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
"""Characters of a name in a path: longer than any new name, for rows that were stored before."""


def of_host(host: str) -> str:
    """A worker's name from its machine's: each forbidden character becomes a hyphen, and nothing is left out."""
    return re.sub(r"[^A-Za-z0-9._@+-]", "-", host).lstrip("._@+-")[:255] or "worker"
