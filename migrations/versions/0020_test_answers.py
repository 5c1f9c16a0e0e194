"""test answers: which examples of the test set a job's network classified right."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "test_answers",
        sa.Column("job_id", sa.BigInteger(), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("bits", sa.LargeBinary(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("test_answers")
