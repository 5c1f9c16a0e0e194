"""Which methods does a path have? A 405 must name those of all routes of the path, not only of the first."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts


def of_path(app: FastAPI, path: str) -> str:
    """The methods of a path, as an Allow header."""
    methods: set[str] = set()
    for route in iter_route_contexts(app.routes):
        pattern = getattr(route, "path_regex", None)
        if pattern is not None and pattern.match(path):
            methods |= route.methods or set()
    return ", ".join(sorted(methods))
