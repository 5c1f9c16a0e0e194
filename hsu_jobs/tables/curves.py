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
    """The value of uniformly random points of the layer's shape."""
    optimum: Mapped[float | None]
    """The proven optimum for the layer's shape."""
    bound: Mapped[float | None]
    """Where no optimum is proven: a value that no points surpass."""
    bound_source: Mapped[str | None]
    """Who proved the bound."""
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    """Of a tracked run: the last step that is written; its client may log several curves at different steps."""


class Block(Row):
    """Points of several curves at the same steps: a matrix of series × steps, so that 100 curves are never 100 rows.

    A flush writes small blocks, compaction merges them into large ones. A reader cuts its own series out of the matrix
    with `substr`, and of a large block only a summary: the binary columns are stored as they are, uncompressed
    (`STORAGE EXTERNAL`), so that Postgres reads only what is requested.

    Two partitions: blocks that are still to be merged come and go in `curve_blocks_open`, which is small and often
    vacuumed; final blocks stay in `curve_blocks_final`, which only grows, or loses whole jobs.
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
    """The first of `series`: the blocks that begin at the same step have different series."""
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
    """float64, one row for each series, one column for each step; NaN and infinities as they are."""
    cell: Mapped[int | None] = mapped_column(BigInteger)
    """Steps in a cell of the summary: a power of two, cells begin at its multiples; null without a summary."""
    axis: Mapped[bytes | None] = mapped_column(LargeBinary)
    """int64, three rows, one column for each cell: number of points, last step, and the bits of that step's time."""
    summary: Mapped[bytes | None] = mapped_column(LargeBinary)
    """float64, four rows for each series, one column for each cell: minimum, maximum, last value, number of NaN."""
