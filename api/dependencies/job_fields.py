"""Which fields of a job does a request ask for? `fields=id,state,result`."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

from fastapi import Depends, Query

from api.views.jobs import JobView
from hsu_jobs.errors import BadRequest, Fault

FIELDS = "Only these fields of each job, separated by commas: `id,state,result`."
Names = Annotated[str | None, Query(min_length=1, max_length=500, description=FIELDS, examples=["id,state,result"])]


def chosen(fields: Names = None) -> frozenset[str] | None:
    """The names, None for all. Raises `BadRequest`."""
    if fields is None:
        return None
    names = [name.strip() for name in fields.split(",")]
    known = JobView.model_fields
    unknown = [name for name in names if name not in known]
    if unknown:
        faults = tuple(
            Fault(pointer="#query/fields", code="unknown_field", detail=_unknown(name, list(known))) for name in unknown
        )
        raise BadRequest("; ".join(fault.detail for fault in faults), faults=faults)
    return frozenset(names)


Fields = Annotated[frozenset[str] | None, Depends(chosen)]
"""The requested fields; None for all."""


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known) or known
    return f"a job has no field {name[:50]!r}; there {'is' if len(near) == 1 else 'are'} {', '.join(near)}"
