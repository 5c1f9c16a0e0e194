"""What was measured: the names of curves, and blocks of their points."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, SmallInteger, UniqueConstraint, text
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
    """Points of several curves at the same steps: a matrix of series × steps, so that 100 curves are never 100 rows.

    A flush writes small ones, compaction makes large ones of them. A reader takes its own series out of the matrix
    with `substr`, and of a large block only a summary: the binary columns are stored as they are, uncompressed
    (`STORAGE EXTERNAL`), so that Postgres reads no more than is asked for.

    Two partitions: what is still to be merged comes and goes in `curve_blocks_open`, which is small and is vacuumed
    often; what is final stays in `curve_blocks_final`, which only grows, or loses whole jobs.
    """

    __tablename__ = "curve_blocks"
    __table_args__ = (
        Index(
            "curve_blocks_open_by_job",
            "job_id",
            postgresql_include=["level", "count"],
            postgresql_where=text("level < 2"),
        ),
        {"postgresql_partition_by": "LIST (level)"},
    )

    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id), primary_key=True)
    first_step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    lead: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    """The first of `series`: of the blocks that begin at a step, each has other series."""
    level: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    """0 and 1 are still to be merged with their neighbours; 2 is final."""
    last_step: Mapped[int] = mapped_column(BigInteger)
    count: Mapped[int] = mapped_column(Integer)
    """Steps."""
    series: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    """Numbers of the rows of the matrix."""
    steps: Mapped[bytes | None] = mapped_column(LargeBinary)
    """int64, little-endian, ascending; null if they are evenly spaced from the first to the last."""
    times: Mapped[bytes] = mapped_column(LargeBinary)
    """float64, seconds since the epoch, one a step."""
    points: Mapped[bytes] = mapped_column(LargeBinary)
    """float64, a row a series, a column a step; NaN and infinities as they are."""
    cell: Mapped[int | None] = mapped_column(BigInteger)
    """Steps in a cell of the summary: a power of two, cells begin at its multiples; null without a summary."""
    axis: Mapped[bytes | None] = mapped_column(LargeBinary)
    """int64, three rows, a column a cell: how many points are in it, its last step, the bits of that step's time."""
    summary: Mapped[bytes | None] = mapped_column(LargeBinary)
    """float64, four rows a series, a column a cell: minimum, maximum, last value, how many are NaN."""
