"""What was measured: the names of curves, and blocks of their points."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, SmallInteger, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from hsu_jobs.tables.base import Row
from hsu_jobs.tables.jobs import Job


class SeriesRow(Row):
    """A curve's name and what it is to be compared with, written once per job; blocks refer to its number."""

    __tablename__ = "curve_series"
    __table_args__ = (UniqueConstraint("job_id", "layer", "measure", postgresql_nulls_not_distinct=True),)

    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id), primary_key=True)
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    layer: Mapped[str | None]
    measure: Mapped[str]
    random: Mapped[float | None]
    """What uniformly random points of the layer's shape would have."""
    optimum: Mapped[float | None]
    """The proven optimum for the layer's shape."""


class Block(Row):
    """A flush of curve points: a matrix of steps × series, so that a step of 100 series is never 100 rows.

    A step is reported once, with one set of series; so no two blocks of a job share a first step, and writing a
    block twice writes it once.
    """

    __tablename__ = "curve_blocks"

    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id), primary_key=True)
    first_step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    last_step: Mapped[int] = mapped_column(BigInteger)
    series: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    """Numbers of the columns."""
    steps: Mapped[bytes] = mapped_column(LargeBinary)
    """int64, little-endian, ascending."""
    times: Mapped[bytes] = mapped_column(LargeBinary)
    """float64, seconds since the epoch, one a step."""
    points: Mapped[bytes] = mapped_column(LargeBinary)
    """float64, a row a step, a column a series; NaN and infinities as they are."""
