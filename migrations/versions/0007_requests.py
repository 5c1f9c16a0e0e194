"""requests: answers under idempotency keys, and indexes for lists of jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_now = sa.text("now()")
_time = sa.DateTime(timezone=True)
ACCURACY = "(coalesce(nullif((result ->> 'test_accuracy')::float8, 'NaN'::float8), '-Infinity'::float8))"


def upgrade() -> None:
    op.drop_table("submissions")
    op.create_table(
        "answers",
        sa.Column("owner_id", sa.BigInteger(), sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("asked_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _time, server_default=_now, nullable=False),
    )
    op.create_index("answers_by_age", "answers", ["created_at"])
    op.create_index("jobs_by_fingerprint", "jobs", ["fingerprint", "id"])
    op.create_index("jobs_by_state", "jobs", ["state", "id"])
    op.create_index("jobs_by_regularizer", "jobs", [sa.text("(spec #>> '{regularizer,kind}')"), "id"])
    op.create_index("jobs_by_tag", "jobs", ["tags"], postgresql_using="gin")
    op.create_index("jobs_by_accuracy", "jobs", [sa.text(ACCURACY), "id"])
    op.create_index("jobs_by_creation", "jobs", ["created_at"], postgresql_using="brin")


def downgrade() -> None:
    for what in ("creation", "accuracy", "tag", "regularizer", "state", "fingerprint"):
        op.drop_index(f"jobs_by_{what}", "jobs")
    op.drop_table("answers")
    op.create_table(
        "submissions",
        sa.Column("owner_id", sa.BigInteger(), sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("spec_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("created_at", _time, server_default=_now, nullable=False),
    )
