"""users bring data sets of their own: versions, the parts of uploads, and the jobs that use one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_now = sa.text("now()")
_time = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("owner_id", sa.BigInteger(), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("options", JSONB(none_as_null=True), nullable=False),
        sa.Column("upload_bytes", sa.BigInteger(), nullable=False),
        sa.Column("test_bytes", sa.BigInteger(), nullable=False),
        sa.Column("part_bytes", sa.Integer(), nullable=False),
        sa.Column("upload_sha256", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), server_default="uploading", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("facts", JSONB(none_as_null=True), nullable=True),
        sa.Column("created_at", _time, server_default=_now, nullable=False),
        sa.Column("changed_at", _time, server_default=_now, nullable=False),
        sa.Column("cleared_at", _time, nullable=True),
        sa.Column("holder", sa.Uuid(), nullable=True),
        sa.Column("held_until", _time, nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.UniqueConstraint("owner_id", "name", "version"),
    )
    for name, column, where in (
        ("datasets_to_convert", "id", "state = 'converting'"),
        ("datasets_to_clear", "id", "cleared_at IS NULL"),
        ("datasets_by_content", "sha256", "sha256 IS NOT NULL"),
    ):
        op.create_index(name, "datasets", [column], postgresql_where=sa.text(where))
    op.create_table(
        "dataset_parts",
        sa.Column("dataset_id", sa.BigInteger(), sa.ForeignKey("datasets.id"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
    )
    op.create_index(
        "jobs_of_own_data",
        "jobs",
        [sa.text("(spec #>> '{dataset,name}')")],
        postgresql_where=sa.text("dataset = 'own'"),
    )


def downgrade() -> None:
    op.drop_index("jobs_of_own_data", "jobs")
    op.drop_table("dataset_parts")
    op.drop_table("datasets")
