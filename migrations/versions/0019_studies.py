"""studies: their cells, and the runs that are their members."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_JSON = postgresql.JSONB(none_as_null=True)


def upgrade() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("owner_id", sa.BigInteger(), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", _JSON, nullable=False),
        sa.Column("wanted", sa.String(16), server_default="run", nullable=False),
        sa.Column("waits", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("extensions", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
    )
    op.create_index("studies_of_owner", "studies", ["owner_id", "id"])
    op.create_index("studies_to_queue", "studies", ["id"], postgresql_where=sa.text("waits"))
    op.create_table(
        "study_cells",
        sa.Column("study_id", sa.BigInteger(), sa.ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("at", _JSON, nullable=False),
        sa.Column("spec", _JSON, nullable=True),
    )
    op.create_table(
        "study_members",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("cell", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("job_id", sa.BigInteger(), sa.ForeignKey("jobs.id"), nullable=True),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("is_current", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("values", _JSON, nullable=True),
        sa.ForeignKeyConstraint(
            ["study_id", "cell"],
            ["study_cells.study_id", "study_cells.number"],
            ondelete="CASCADE",
            name="member_of_cell",
        ),
    )
    op.create_index(
        "study_member_of_seed",
        "study_members",
        ["study_id", "cell", "seed"],
        unique=True,
        postgresql_where=sa.text("is_current AND seed IS NOT NULL"),
    )
    op.create_index("study_members_of_study", "study_members", ["study_id", "cell", "id"])
    op.create_index("study_members_of_job", "study_members", ["job_id"], postgresql_where=sa.text("job_id IS NOT NULL"))


def downgrade() -> None:
    op.drop_table("study_members")
    op.drop_table("study_cells")
    op.drop_table("studies")
