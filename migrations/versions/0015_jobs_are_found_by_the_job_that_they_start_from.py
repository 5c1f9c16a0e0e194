"""jobs are found by the job whose weights they start from: at each checkpoint of that job, to keep what they need."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "jobs_started_from",
        "jobs",
        [sa.text("(spec #>> '{initial,job}')")],
        postgresql_where=sa.text("spec #>> '{initial,job}' IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("jobs_started_from", "jobs")
