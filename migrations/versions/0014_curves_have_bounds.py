"""curves have bounds: where no optimum is proven, what no points surpass."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("curve_series", sa.Column("bound", sa.Double(), nullable=True))
    op.add_column("curve_series", sa.Column("bound_source", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("curve_series", "bound_source")
    op.drop_column("curve_series", "bound")
