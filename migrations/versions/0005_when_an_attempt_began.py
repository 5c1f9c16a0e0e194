"""when an attempt began: from then on the curves are its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("begun_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE attempts SET begun_at = started_at WHERE step > 0 OR ended_at IS NOT NULL")


def downgrade() -> None:
    op.drop_column("attempts", "begun_at")
