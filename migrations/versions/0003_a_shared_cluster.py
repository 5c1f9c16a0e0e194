"""a shared cluster: fair shares, priorities, workers, checkpoints, logs."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_now = sa.text("now()")
_time = sa.DateTime(timezone=True)

ADDED = {
    "users": ("share", "max_gpus", "gpus", "usage", "usage_at"),
    "jobs": ("priority", "gpus", "pool", "strikes", "parent_id", "parent_step", "runnable_at", "deadline_at"),
    "attempts": ("gpus", "resumed_from", "stop"),
}

# The closed form of du/dt = gpus − λu with λ = ln 2 / half_life; see hsu_jobs/cluster/fair_share.py. One expression, so
# that Postgres writes it out in the query that asks: choosing the next job computes it for every user.
USAGE_NOW = """
CREATE FUNCTION usage_now(usage float8, gpus int, since timestamptz, half_life float8) RETURNS float8
LANGUAGE sql STABLE AS $$
    SELECT gpus * half_life / ln(2.0::float8) + (usage - gpus * half_life / ln(2.0::float8))
         * power(0.5::float8, greatest(extract(epoch FROM now() - since), 0)::float8 / half_life)
$$
"""


def upgrade() -> None:
    column: sa.Column[Any]
    op.execute(USAGE_NOW)
    for column in (
        sa.Column("share", sa.Double(), server_default="1", nullable=False),
        sa.Column("max_gpus", sa.Integer(), nullable=True),
        sa.Column("gpus", sa.Integer(), server_default="0", nullable=False),
        sa.Column("usage", sa.Double(), server_default="0", nullable=False),
        sa.Column("usage_at", _time, server_default=_now, nullable=False),
    ):
        op.add_column("users", column)
    for column in (
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("gpus", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("pool", sa.Text(), server_default="default", nullable=False),
        sa.Column("strikes", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("parent_id", sa.BigInteger(), sa.ForeignKey("jobs.id"), nullable=True),
        sa.Column("parent_step", sa.BigInteger(), nullable=True),
        sa.Column("runnable_at", _time, server_default=_now, nullable=False),
        sa.Column("deadline_at", _time, nullable=True),
    ):
        op.add_column("jobs", column)
    for column in (
        sa.Column("gpus", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("resumed_from", sa.BigInteger(), nullable=True),
        sa.Column("stop", sa.String(16), nullable=True),
    ):
        op.add_column("attempts", column)
    op.drop_index("jobs_queued", "jobs")
    op.create_index(
        "jobs_runnable",
        "jobs",
        ["pool", "owner_id", "gpus", sa.text("priority DESC"), "id"],
        postgresql_where=sa.text("state = 'queued' AND wanted = 'run'"),
    )
    op.create_index(
        "jobs_by_deadline", "jobs", ["deadline_at"], postgresql_where=sa.text("state IN ('queued', 'paused')")
    )
    op.create_index("jobs_of_parent", "jobs", ["parent_id"], postgresql_where=sa.text("parent_id IS NOT NULL"))
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("job_id", sa.BigInteger(), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("metric", sa.Double(), nullable=True),
        sa.Column("is_best", sa.Boolean(), nullable=False),
        sa.Column("created_at", _time, server_default=_now, nullable=False),
        sa.Column("removed_at", _time, nullable=True),
        sa.Column("removed_because", sa.Text(), nullable=True),
        sa.UniqueConstraint("job_id", "attempt", "step"),
    )
    op.create_table(
        "log_chunks",
        sa.Column("attempt_id", sa.BigInteger(), sa.ForeignKey("attempts.id"), primary_key=True),
        sa.Column("first_byte", sa.BigInteger(), primary_key=True),
        sa.Column("at", _time, server_default=_now, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("devices", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("slots", sa.SmallInteger(), nullable=False),
        sa.Column("duty", sa.String(16), nullable=False),
        sa.Column("faults", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("holding", sa.BigInteger(), sa.ForeignKey("jobs.id"), nullable=True),
        sa.Column("started_at", _time, server_default=_now, nullable=False),
        sa.Column("seen_at", _time, server_default=_now, nullable=False),
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION usage_now")
    for table in ("workers", "log_chunks", "checkpoints"):
        op.drop_table(table)
    for index in ("jobs_of_parent", "jobs_by_deadline", "jobs_runnable"):
        op.drop_index(index, "jobs")
    op.create_index("jobs_queued", "jobs", ["id"], postgresql_where=sa.text("state = 'queued'"))
    op.execute("UPDATE jobs SET state = 'queued', wanted = 'run' WHERE state = 'paused'")
    op.execute("UPDATE jobs SET wanted = 'run' WHERE wanted = 'pause'")
    for table, columns in ADDED.items():
        for column in columns:
            op.drop_column(table, column)
