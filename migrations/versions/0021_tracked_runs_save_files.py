"""tracked runs save files: which files, and how far is each upload."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

NOW = sa.text("now()")
STAYS = sa.text("state <> 'deleted'")


def upgrade() -> None:
    op.create_table(
        "saved_files",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("job_id", sa.BigInteger(), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("part_bytes", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), server_default="uploading", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("cleared_at", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_index("saved_files_of_job", "saved_files", ["job_id", "name"])
    op.create_index("saved_files_of_owner", "saved_files", ["owner_id"], postgresql_where=STAYS)
    op.create_index("saved_files_to_clear", "saved_files", ["id"], postgresql_where=sa.text("cleared_at IS NULL"))
    op.create_table(
        "saved_file_parts",
        sa.Column("file_id", sa.BigInteger(), sa.ForeignKey("saved_files.id"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("saved_file_parts")
    op.drop_table("saved_files")
