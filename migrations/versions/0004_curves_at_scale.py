"""curves at scale: blocks by series, evenly spaced steps, levels and summaries."""

from __future__ import annotations

import numpy as np
import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BINARY = ("steps", "times", "points", "axis", "summary")


def upgrade() -> None:
    op.add_column("attempts", sa.Column("recorded", sa.BigInteger(), server_default="-1", nullable=False))
    op.add_column("curve_blocks", sa.Column("lead", sa.SmallInteger(), nullable=True))
    op.add_column("curve_blocks", sa.Column("count", sa.Integer(), nullable=True))
    op.add_column("curve_blocks", sa.Column("level", sa.SmallInteger(), server_default="0", nullable=False))
    op.add_column("curve_blocks", sa.Column("cell", sa.BigInteger(), nullable=True))
    op.add_column("curve_blocks", sa.Column("axis", sa.LargeBinary(), nullable=True))
    op.add_column("curve_blocks", sa.Column("summary", sa.LargeBinary(), nullable=True))
    op.alter_column("curve_blocks", "level", server_default=None)
    op.alter_column("curve_blocks", "steps", nullable=True)
    op.execute("UPDATE curve_blocks SET lead = series[1], count = octet_length(steps) / 8")
    _turn(by_series=True)
    op.alter_column("curve_blocks", "lead", nullable=False)
    op.alter_column("curve_blocks", "count", nullable=False)
    op.drop_constraint("curve_blocks_pkey", "curve_blocks")
    op.create_primary_key("curve_blocks_pkey", "curve_blocks", ["job_id", "first_step", "lead"])
    op.create_index(
        "curve_blocks_open",
        "curve_blocks",
        ["job_id"],
        postgresql_include=["level", "count"],
        postgresql_where=sa.text("level < 2"),
    )
    for name in BINARY:
        op.execute(f"ALTER TABLE curve_blocks ALTER COLUMN {name} SET STORAGE EXTERNAL")


def downgrade() -> None:
    merged = sa.text(
        "SELECT count(*) FROM (SELECT FROM curve_blocks GROUP BY job_id, first_step HAVING count(*) > 1) AS m"
    )
    if op.get_bind().execute(merged).scalar_one():
        raise RuntimeError("blocks of curves were merged since: the earlier tables cannot hold them; stay at 0004")
    _turn(by_series=False)
    op.drop_index("curve_blocks_open", "curve_blocks")
    op.drop_constraint("curve_blocks_pkey", "curve_blocks")
    op.create_primary_key("curve_blocks_pkey", "curve_blocks", ["job_id", "first_step"])
    for name in ("lead", "count", "level", "cell", "axis", "summary"):
        op.drop_column("curve_blocks", name)
    op.alter_column("curve_blocks", "steps", nullable=False)
    for name in BINARY[:3]:
        op.execute(f"ALTER TABLE curve_blocks ALTER COLUMN {name} SET STORAGE EXTENDED")
    op.drop_column("attempts", "recorded")


def _turn(*, by_series: bool) -> None:
    """Turn each matrix over: a row a step, as it was, or a row a series."""
    blocks = sa.text("SELECT ctid::text AS place, first_step, last_step, count, steps, points FROM curve_blocks")
    turned = sa.text("UPDATE curve_blocks SET steps = :steps, points = :points WHERE ctid = CAST(:place AS tid)")
    for block in op.get_bind().execute(blocks).mappings().all():
        count = block["count"]
        points = np.frombuffer(block["points"], "<f8").reshape((count, -1) if by_series else (-1, count)).T
        even = np.linspace(block["first_step"], block["last_step"], count).astype("<i8")
        values = {"steps": block["steps"] or even.tobytes(), "points": points.tobytes(), "place": block["place"]}
        op.get_bind().execute(turned, values)
