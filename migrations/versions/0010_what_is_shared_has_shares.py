"""what is shared has shares: a quota of waiting jobs, turns of webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("max_waiting", sa.Integer(), nullable=True))
    op.add_column("webhooks", sa.Column("served_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "jobs_waiting_of_owner", "jobs", ["owner_id"], postgresql_where=sa.text("state IN ('queued', 'paused')")
    )
    op.create_index(
        "deliveries_pings", "deliveries", ["webhook_id", "id"], postgresql_where=sa.text("event_id IS NULL")
    )


def downgrade() -> None:
    op.drop_index("deliveries_pings", "deliveries")
    op.drop_index("jobs_waiting_of_owner", "jobs")
    op.drop_column("webhooks", "served_at")
    op.drop_column("users", "max_waiting")
