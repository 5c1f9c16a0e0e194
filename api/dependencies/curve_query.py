"""Which curves does a request ask for, and in which form?"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from fastapi import Depends, Header, Query
from pydantic import StringConstraints

from api.views.curve_formats import MEDIA_TYPES, Format
from hsu_core.spec.values import EXACT
from hsu_jobs.curves import Choice, Origin

MOST_NAMES = 256
"""Layers or measures that one request may name: more than a model has."""
Name = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00]*$")]
Layers = Annotated[list[Name], Query(max_length=MOST_NAMES, description="Only these layers; repeat for several.")]
Measures = Annotated[list[Name], Query(max_length=MOST_NAMES, description="Only these measures; repeat for several.")]
Step = Annotated[int, Query(ge=0, le=EXACT)]


def choice(
    layer: Layers = [],  # noqa: B006
    measure: Measures = [],  # noqa: B006
    first_step: Step = 0,
    last_step: Step = EXACT,
    relative_to: Annotated[
        Origin | None,
        Query(
            description="Subtract this reference from each curve: the gap to random points, to the proven optimum, or "
            "(`bound`) to the optimum or else the bound, which compares layers of different shape. Curves that have no "
            "such reference are left out."
        ),
    ] = None,
) -> Choice:
    """Which curves, and which of their steps."""
    return Choice(layer, measure, first_step, last_step, relative_to)


class Form(NamedTuple):
    """In which form the curves are sent."""

    max_points: int | None
    times: bool
    format: Format


def form(
    max_points: Annotated[
        int | None,
        Query(
            ge=1,
            le=1_000_000,
            description="Cut the steps into at most so many buckets, the same for every curve: each with its minimum, "
            "maximum and last value. A bucket is as long as a power of two. Without it, every point comes.",
        ),
    ] = None,
    times: Annotated[bool, Query(description="JSON: also when each value was measured.")] = False,  # noqa: FBT002
    format: Annotated[  # noqa: A002 - the name of the parameter
        Format | None, Query(description="Overrides `Accept`: JSON in columns, or a table with a row a point.")
    ] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Form:
    """In which form the curves are sent: `format`, else the first of `Accept` that we have, else JSON."""
    accepted = [each.partition(";")[0].strip() for each in accept.split(",")]
    found = (each for wanted in accepted for each, media_type in MEDIA_TYPES.items() if media_type == wanted)
    return Form(max_points, times, format or next(found, Format.JSON))


Chosen = Annotated[Choice, Depends(choice, scope="function")]
CurveForm = Annotated[Form, Depends(form, scope="function")]
