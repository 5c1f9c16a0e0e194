"""searches of studies: where their trials begin, and which cells are trials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_JSON = postgresql.JSONB(none_as_null=True)


def upgrade() -> None:
    op.create_table(
        "study_searches",
        sa.Column("study_id", sa.BigInteger(), sa.ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("at", _JSON, nullable=False),
        sa.Column("spec", _JSON, nullable=False),
    )
    op.add_column("study_cells", sa.Column("search", sa.Integer(), nullable=True))
    op.add_column("study_cells", sa.Column("trial", sa.Integer(), nullable=True))
    op.create_index(
        "study_cell_of_trial",
        "study_cells",
        ["study_id", "search", "trial"],
        unique=True,
        postgresql_where=sa.text("trial IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("study_cell_of_trial", "study_cells")
    op.drop_column("study_cells", "trial")
    op.drop_column("study_cells", "search")
    op.drop_table("study_searches")
