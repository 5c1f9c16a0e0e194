"""rows that fail are counted, counters that grow are integers, and a worker has an identity."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_time = sa.DateTime(timezone=True)

GROWING = (
    ("attempts", "number", False),
    ("checkpoints", "attempt", False),
    ("deliveries", "attempts", True),
    ("webhooks", "failures", True),
    ("workers", "slots", False),
    ("workers", "faults", True),
)
"""Counters without a bound, and whether they begin at 0; a job's strikes end with `limits.max_attempts`."""


def upgrade() -> None:
    for table, column, begins_at_0 in GROWING:
        op.alter_column(
            table,
            column,
            type_=sa.Integer(),
            existing_type=sa.SmallInteger(),
            existing_nullable=False,
            existing_server_default="0" if begins_at_0 else None,
        )
    op.add_column("workers", sa.Column("identity", sa.Uuid(), nullable=True))
    op.create_table(
        "row_failures",
        sa.Column("loop", sa.Text(), primary_key=True),
        sa.Column("failures", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("last_row", sa.Text(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("last_at", _time, server_default=sa.text("now()"), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("row_failures")
    op.drop_column("workers", "identity")
    for table, column, begins_at_0 in reversed(GROWING):
        op.alter_column(
            table,
            column,
            type_=sa.SmallInteger(),
            existing_type=sa.Integer(),
            existing_nullable=False,
            existing_server_default="0" if begins_at_0 else None,
        )
