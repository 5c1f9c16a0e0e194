"""Which requests carry bytes, and not JSON? The parts of an upload, which may also be larger than any other body."""

from __future__ import annotations

import re

from starlette.types import Scope

from api.path_prefix import route_path

_PART = re.compile(r"/v1/datasets/[^/]+/versions/[^/]+/parts/[^/]+")


def is_part(scope: Scope) -> bool:
    """Whether a request sends a part of an upload."""
    return scope["method"] == "PUT" and _PART.fullmatch(route_path(scope)) is not None
