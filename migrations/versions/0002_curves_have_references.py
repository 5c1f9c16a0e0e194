"""curves have references: what random points and the best ones would have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("curve_series", sa.Column("random", sa.Double(), nullable=True))
    op.add_column("curve_series", sa.Column("optimum", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("curve_series", "optimum")
    op.drop_column("curve_series", "random")
