"""tracked runs: batches are applied once, curves know their last step, attempts know where their client runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("applied", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("attempts", sa.Column("environment", postgresql.JSONB(none_as_null=True), nullable=True))
    op.add_column("curve_series", sa.Column("last_step", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("curve_series", "last_step")
    op.drop_column("attempts", "environment")
    op.drop_column("attempts", "applied")
