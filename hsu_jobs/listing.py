"""Which jobs, in which order, and where does the next page begin?

Knows filters, orders and cursors. Knows nothing of whose jobs they are: it narrows a selection of the caller. Every
order ends with the id and holds no null, so that a page begins exactly after the last row of the page before, whatever
has been added or has changed meanwhile.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError
from sqlalchemy import BigInteger, ColumnElement, Double, Select, Text, literal, literal_column, select, tuple_
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from hsu_core import spec
from hsu_core.spec import kinds
from hsu_jobs.errors import BadRequest, Fault
from hsu_jobs.names import PoolName
from hsu_jobs.results import METRICS
from hsu_jobs.spec import Tag
from hsu_jobs.states import State
from hsu_jobs.tables import Job, User
from hsu_jobs.timestamps import Timestamp

SORTS = (
    *("-created", "created", "-priority", "priority", "name", "-name"),
    *(sort for metric in METRICS for sort in (f"-{metric}", metric)),
)

if TYPE_CHECKING:  # a type checker cannot compute the members of a Literal
    Sort = str
    RegularizerKind = str
    ModelKind = str
    DatasetKind = str
else:
    Sort = Literal[SORTS]
    RegularizerKind = Literal[kinds(spec.Regularizer)]
    ModelKind = Literal[kinds(spec.Model)]
    DatasetKind = Literal[kinds(spec.Dataset)]

_NO_NUL = r"^[^\x00]*$"
"""The one character that Postgres' text cannot hold."""
_COMPARISONS = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}


def _checked(bound: str) -> str:
    metric, _, rest = bound.partition(":")
    comparison, _, number = rest.partition(":")
    if metric not in METRICS or comparison not in _COMPARISONS or not _is_finite(number):
        expected = "METRIC:COMPARISON:NUMBER, as in test_accuracy:gt:0.97"
        choices = f"metrics {', '.join(METRICS)}; comparisons {', '.join(_COMPARISONS)}"
        raise PydanticCustomError("bad_bound", "{message}", {"message": f"expected {expected}; {choices}"})
    return bound


def _is_finite(number: str) -> bool:
    try:
        return math.isfinite(float(number))
    except ValueError:
        return False


Bound = Annotated[
    str,
    StringConstraints(max_length=100, pattern=r"^[a-z0-9_]+:[a-z]+:[-+.0-9eE]+$"),
    AfterValidator(_checked),
    Field(examples=["test_accuracy:gt:0.97"]),
]
"""`METRIC:COMPARISON:NUMBER`, where the comparison is one of gt, ge, lt, le: `test_accuracy:gt:0.97`."""


class Listing(BaseModel):
    """Which jobs are requested: those that meet all of these conditions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    state: Annotated[list[State], Field(max_length=10)] = []
    """Any of these; repeat for several."""
    tag: Annotated[list[Tag], Field(max_length=32)] = []
    """All of these; repeat for several."""
    owner: Annotated[str, StringConstraints(pattern=_NO_NUL, min_length=1, max_length=255)] | None = None
    """The user's name; members see only their own jobs."""
    name: Annotated[str, StringConstraints(pattern=_NO_NUL, min_length=1, max_length=200)] | None = None
    """A part of the name, in upper or lower case."""
    regularizer: Annotated[list[RegularizerKind], Field(max_length=20)] = []
    """Any of these kinds; repeat for several."""
    model: Annotated[list[ModelKind], Field(max_length=20)] = []
    """Any of these kinds; repeat for several."""
    dataset: Annotated[list[DatasetKind], Field(max_length=20)] = []
    """Any of these kinds; repeat for several."""
    pool: PoolName | None = None
    fingerprint: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)] | None = None
    """Jobs that must give equal results have the same."""
    created_after: Timestamp | None = None
    """Created at this time or later, with its offset: `2026-11-25T12:00:00Z`."""
    created_before: Timestamp | None = None
    """Created before this time."""
    where: Annotated[list[Bound], Field(max_length=10)] = []
    """A bound on the result, `METRIC:COMPARISON:NUMBER` with one of gt, ge, lt, le: `test_accuracy:gt:0.97`. A job
    without a result, or whose metric is NaN, is never among them. Repeat for several; all must hold."""
    sort: Sort = "-created"
    """In ascending order; `-` reverses it. A metric that is missing or NaN comes last."""


class Page(NamedTuple):
    """A part of the list."""

    jobs: list[Job]
    next_cursor: str | None
    """Where the rest begins; None if there is none."""


def page(session: Session, among: Select[Job], listing: Listing, *, cursor: str | None, limit: int) -> Page:
    """The first `limit` of the requested jobs, or of those after a cursor. Raises `BadRequest`."""
    order = _Order.of(listing.sort)
    asked = among.where(*_conditions(listing)).add_columns(order.key.label("key"))
    asked = asked.order_by(*order.columns()).limit(limit + 1)
    if cursor is not None:
        asked = asked.where(order.is_behind(_decoded(cursor, _digest(listing), order.kind)))
    rows = session.execute(asked).all()
    jobs = [row[0] for row in rows[:limit]]
    more = _Cursor(rows[limit - 1].key, jobs[-1].id) if len(rows) > limit else None
    return Page(jobs, None if more is None else _encoded(more, _digest(listing)))


class _Cursor(NamedTuple):
    """The last row of a page."""

    key: int | float | str
    id: int


_TYPES: dict[type, type[TypeEngine[Any]]] = {int: BigInteger, float: Double, str: Text}


class _Order(NamedTuple):
    """What a list is sorted by, and in which direction; then by id, in the same direction."""

    key: ColumnElement[Any]
    descends: bool
    kind: type
    """The type of the key's values."""

    @classmethod
    def of(cls, sort: Sort) -> Self:
        name, descends = sort.removeprefix("-"), sort.startswith("-")
        match name:
            case "created":
                return cls(Job.id.expression, descends, int)
            case "priority":
                return cls(Job.priority.expression, descends, int)
            case "name":
                return cls(Job.name.expression, descends, str)
            case _:
                return cls(_or_last(name, "-Infinity" if descends else "Infinity"), descends, float)

    def columns(self) -> Sequence[ColumnElement[Any]]:
        return [column.desc() if self.descends else column.asc() for column in (self.key, Job.id)]

    def is_behind(self, place: _Cursor) -> ColumnElement[bool]:
        here = tuple_(self.key, Job.id)
        there = tuple_(literal(place.key, _TYPES[self.kind]), literal(place.id, BigInteger))
        return here < there if self.descends else here > there


def _conditions(asked: Listing) -> Iterator[ColumnElement[bool]]:
    several: Iterable[tuple[ColumnElement[Any], list[Any]]] = (
        (Job.state.expression, asked.state),
        *((_kind(part), getattr(asked, part)) for part in _KINDS),
    )
    for column, values in several:
        if values:
            yield column == values[0] if len(values) == 1 else column.in_(values)
    for same, value in ((Job.pool, asked.pool), (Job.fingerprint, asked.fingerprint)):
        if value is not None:
            yield same == value
    if asked.tag:
        yield Job.tags.contains(asked.tag)
    if asked.owner is not None:
        yield Job.owner_id == select(User.id).where(User.name == asked.owner).scalar_subquery()
    if asked.name is not None:
        yield Job.name.icontains(asked.name, autoescape=True)
    if asked.created_after is not None:
        yield Job.created_at >= asked.created_after
    if asked.created_before is not None:
        yield Job.created_at < asked.created_before
    yield from map(_holds, asked.where)


_KINDS = ("regularizer", "model", "dataset")


def _kind(part: str) -> ColumnElement[str]:
    """The exact text of the index."""
    return literal_column(f"(jobs.spec #>> '{{{part},kind}}')", Text)


def _holds(bound: str) -> ColumnElement[bool]:
    metric, comparison, number = bound.split(":")
    # A missing number counts as below every number, as in the index, or above, so that the bound never holds.
    value = _or_last(metric, "-Infinity" if comparison in ("gt", "ge") else "Infinity")
    holds: ColumnElement[bool] = _COMPARISONS[comparison](value, float(number))
    return holds


def _or_last(metric: str, otherwise: str) -> ColumnElement[float]:
    """A metric of the result, or `otherwise` where there is no number (NaN, a result of another version).

    For the indexed metric it is the exact text of the index: a row whose value it could not hold cannot be written.
    """
    number = f"(jobs.result ->> '{metric}')::float8"
    if metric != _INDEXED:
        value = f"jobs.result -> '{metric}'"
        is_real = f"({value})::numeric = 0 OR abs(({value})::numeric) BETWEEN 1e-300 AND 1e300"
        infinite = f"CASE WHEN jobs.result ->> '{metric}' IN ('Infinity', '-Infinity') THEN {number} END"
        number = (
            f"CASE jsonb_typeof({value}) WHEN 'number' THEN CASE WHEN {is_real} THEN {number} END ELSE {infinite} END"
        )
    number = f"nullif({number}, 'NaN'::float8)"
    return literal_column(f"coalesce({number}, '{otherwise}'::float8)", Double)


_INDEXED = "test_accuracy"


def _digest(listing: Listing) -> str:
    return hashlib.sha256(listing.model_dump_json(include=set(Listing.model_fields)).encode()).hexdigest()[:16]


def _encoded(place: _Cursor, digest: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([digest, *place]).encode()).decode().rstrip("=")


def _decoded(cursor: str, digest: str, kind: type) -> _Cursor:
    try:
        of, *rest = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError) as error:
        raise _no_cursor() from error
    if of != digest:
        raise _refused(
            "cursor_of_another_query",
            "the cursor belongs to a list with other filters or another sort: "
            "send it with those of the page that it came with, or begin without one",
        )
    if len(rest) != len(_Cursor._fields) or not (_is_a(kind, rest[0]) and _is_a(int, rest[1])):
        raise _no_cursor()
    return _Cursor(*rest)


def _is_a(kind: type, value: object) -> bool:
    """Whether Postgres can hold the value: its numbers have a bounded length, and its texts no NUL."""
    match value:
        case bool():
            return False
        case int():
            return kind is int and -(2**63) <= value < 2**63
        case str():
            return kind is str and "\0" not in value
        case _:
            return isinstance(value, kind)


def _no_cursor() -> BadRequest:
    return _refused("invalid_cursor", "the cursor is none: send the `next_cursor` of the page before")


def _refused(code: str, detail: str) -> BadRequest:
    return BadRequest(detail, faults=(Fault(pointer="#query/cursor", code=code, detail=detail),))
