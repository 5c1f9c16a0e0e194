"""keys know which key made them, and which one they replace."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_COLUMNS = {"made_by_id": "api_keys_by_maker", "replaces_id": "api_keys_by_predecessor"}


def upgrade() -> None:
    for column, index in _COLUMNS.items():
        op.add_column("api_keys", sa.Column(column, sa.BigInteger(), sa.ForeignKey("api_keys.id"), nullable=True))
        op.create_index(index, "api_keys", [column])


def downgrade() -> None:
    for column in _COLUMNS:
        op.drop_column("api_keys", column)
