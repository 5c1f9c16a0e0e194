"""what a machine lacks: the installation's storage has a marker, workers tell their data sets, jobs name theirs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

DATASET = "coalesce(spec #>> '{dataset,kind}', '')"
RUNNABLE = sa.text("state = 'queued' AND wanted = 'run'")


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("number", sa.SmallInteger(), server_default="1", autoincrement=False, primary_key=True),
        sa.Column("identity", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("storage_marked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("number = 1", name="installation_is_one"),
    )
    op.execute("INSERT INTO installation DEFAULT VALUES")
    op.add_column("jobs", sa.Column("dataset", sa.Text(), sa.Computed(DATASET, persisted=True), nullable=False))
    op.drop_index("jobs_runnable", "jobs")
    op.create_index(
        "jobs_runnable",
        "jobs",
        ["pool", "dataset", "owner_id", "gpus", sa.text("priority DESC"), "id"],
        postgresql_where=RUNNABLE,
    )
    op.add_column("workers", sa.Column("datasets", sa.ARRAY(sa.Text()), nullable=True))
    op.add_column("workers", sa.Column("lacks", sa.ARRAY(sa.Text()), server_default="{}", nullable=False))


def downgrade() -> None:
    op.drop_column("workers", "lacks")
    op.drop_column("workers", "datasets")
    op.drop_index("jobs_runnable", "jobs")
    op.create_index(
        "jobs_runnable",
        "jobs",
        ["pool", "owner_id", "gpus", sa.text("priority DESC"), "id"],
        postgresql_where=RUNNABLE,
    )
    op.drop_column("jobs", "dataset")
    op.drop_table("installation")
