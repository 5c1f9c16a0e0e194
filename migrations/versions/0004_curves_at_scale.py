"""curves at scale: blocks by series, evenly spaced steps, levels and summaries; those that are final stand apart."""

from __future__ import annotations

import numpy as np
import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BINARY = ("steps", "times", "points", "axis", "summary")
OFTEN = "autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 200"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("recorded", sa.BigInteger(), server_default="-1", nullable=False))
    _set_aside()
    op.create_table(
        "curve_blocks",
        sa.Column("job_id", sa.BigInteger(), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("first_step", sa.BigInteger(), primary_key=True),
        sa.Column("lead", sa.SmallInteger(), primary_key=True),
        sa.Column("level", sa.SmallInteger(), primary_key=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("series", sa.ARRAY(sa.SmallInteger()), nullable=False),
        sa.Column("steps", sa.LargeBinary(), nullable=True),
        sa.Column("times", sa.LargeBinary(), nullable=False),
        sa.Column("points", sa.LargeBinary(), nullable=False),
        sa.Column("cell", sa.BigInteger(), nullable=True),
        sa.Column("axis", sa.LargeBinary(), nullable=True),
        sa.Column("summary", sa.LargeBinary(), nullable=True),
        postgresql_partition_by="LIST (level)",
    )
    for name in BINARY:
        op.execute(f"ALTER TABLE curve_blocks ALTER COLUMN {name} SET STORAGE EXTERNAL")
    op.execute(f"CREATE TABLE curve_blocks_open PARTITION OF curve_blocks FOR VALUES IN (0, 1) WITH ({OFTEN})")
    op.execute("CREATE TABLE curve_blocks_final PARTITION OF curve_blocks FOR VALUES IN (2)")
    op.create_index(
        "curve_blocks_open_by_job",
        "curve_blocks",
        ["job_id"],
        postgresql_include=["level", "count"],
        postgresql_where=sa.text("level < 2"),
    )
    _bring_back(
        "job_id, first_step, lead, level, last_step, count",
        "job_id, first_step, series[1], 0, last_step, octet_length(steps) / 8",
        by_series=True,
    )


def downgrade() -> None:
    merged = sa.text("SELECT FROM curve_blocks GROUP BY job_id, first_step HAVING count(*) > 1 LIMIT 1")
    if op.get_bind().execute(merged).first() is not None:
        raise RuntimeError("blocks of curves were merged since: the earlier tables cannot hold them; stay at 0004")
    _set_aside()
    op.create_table(
        "curve_blocks",
        sa.Column("job_id", sa.BigInteger(), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("first_step", sa.BigInteger(), primary_key=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("series", sa.ARRAY(sa.SmallInteger()), nullable=False),
        sa.Column("steps", sa.LargeBinary(), nullable=False),
        sa.Column("times", sa.LargeBinary(), nullable=False),
        sa.Column("points", sa.LargeBinary(), nullable=False),
    )
    _bring_back("job_id, first_step, last_step", "job_id, first_step, last_step", by_series=False)
    op.drop_column("attempts", "recorded")


def _set_aside() -> None:
    op.rename_table("curve_blocks", "old_blocks")
    op.execute("ALTER INDEX curve_blocks_pkey RENAME TO old_blocks_pkey")


def _bring_back(columns: str, values: str, *, by_series: bool) -> None:
    """Copy the blocks, each matrix turned over: a row a series, or a row a step as it was."""
    insert = sa.text(
        f"INSERT INTO curve_blocks ({columns}, series, steps, times, points) "  # noqa: S608
        f"SELECT {values}, series, :steps, times, :points FROM old_blocks "
        "WHERE ctid = CAST(:place AS tid) AND tableoid = :table"
    )
    blocks = sa.text("SELECT tableoid AS table, ctid::text AS place, * FROM old_blocks")
    for block in op.get_bind().execute(blocks).mappings().all():
        count = block.get("count") or len(block["steps"]) // 8
        points = np.frombuffer(block["points"], "<f8").reshape((count, -1) if by_series else (-1, count)).T
        steps = block["steps"] or np.linspace(block["first_step"], block["last_step"], count).astype("<i8").tobytes()
        moved = {"steps": steps, "points": points.tobytes(), "place": block["place"], "table": block["table"]}
        op.get_bind().execute(insert, moved)
    op.drop_table("old_blocks")
