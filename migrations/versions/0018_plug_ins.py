"""plug-ins: which of them a job needs, and which a worker has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

WAITS = sa.text("state = 'queued' AND wanted = 'run'")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("plugins", sa.ARRAY(sa.Text()), server_default="{}", nullable=False))
    op.add_column("workers", sa.Column("plugins", postgresql.JSONB(none_as_null=True), nullable=True))
    op.add_column("workers", sa.Column("broken_plugins", sa.ARRAY(sa.Text()), server_default="{}", nullable=False))
    _index("pool", "plugins", "dataset")


def downgrade() -> None:
    _index("pool", "dataset")
    op.drop_column("workers", "broken_plugins")
    op.drop_column("workers", "plugins")
    op.drop_column("jobs", "plugins")


def _index(*first: str) -> None:
    op.drop_index("jobs_runnable", "jobs")
    rest = ("owner_id", "gpus", sa.text("priority DESC"), "id")
    op.create_index("jobs_runnable", "jobs", [*first, *rest], postgresql_where=WAITS)
