"""keys have names and a last use; who changed what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_time = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("name", sa.Text(), server_default="", nullable=False))
    op.add_column("api_keys", sa.Column("last_used_at", _time, nullable=True))
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("at", _time, server_default=sa.text("now()"), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("key_prefix", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
    )
    op.create_index("audit_of_user", "audit", ["user", "id"])
    op.create_index("audit_by_age", "audit", ["at"])


def downgrade() -> None:
    op.drop_table("audit")
    for column in ("last_used_at", "name"):
        op.drop_column("api_keys", column)
