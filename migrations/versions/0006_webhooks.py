"""webhooks and what is delivered to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_now = sa.text("now()")
_time = sa.DateTime(timezone=True)

# In the database, since events are written in several ways, one of them raw SQL: so an event and its messages commit
# together whoever writes it, and an owner without webhooks costs a look into an index. A webhook wants an event if it
# names its kind or the state that it brings (`hsu_jobs/webhooks/subscriptions.py`: WANTED). KEY SHARE: who removes a
# webhook meanwhile is waited for, and the row then passed over, or the event could not be written at all.
ADDRESS = """
CREATE FUNCTION address_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deliveries (webhook_id, event_id)
    SELECT webhooks.id, NEW.id
    FROM webhooks
    WHERE owner_id = (SELECT owner_id FROM jobs WHERE id = NEW.job_id) AND active
      AND events && ARRAY[NEW.event ->> 'kind',
                          CASE NEW.event ->> 'kind' WHEN 'expired' THEN 'failed' ELSE NEW.event ->> 'state' END]
    ORDER BY webhooks.id
    FOR KEY SHARE OF webhooks;
    RETURN NULL;
END
$$
"""
TRIGGER = "CREATE TRIGGER events_to_webhooks AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION address_event()"


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("owner_id", sa.BigInteger(), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("events", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("active", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("disabled_because", sa.Text(), nullable=True),
        sa.Column("failures", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("rests_until", _time, server_default=_now, nullable=False),
        sa.Column("courier", sa.Uuid(), nullable=True),
        sa.Column("courier_until", _time, nullable=True),
        sa.Column("created_at", _time, server_default=_now, nullable=False),
    )
    op.create_index("webhooks_of_owner", "webhooks", ["owner_id", "id"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("webhook_id", sa.BigInteger(), sa.ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
        sa.Column("event_id", sa.BigInteger(), sa.ForeignKey("events.id"), nullable=True),
        sa.Column("message", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("state", sa.String(16), server_default="pending", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("created_at", _time, server_default=_now, nullable=False),
        sa.Column("asked_at", _time, server_default=_now, nullable=False),
        sa.Column("next_attempt_at", _time, server_default=_now, nullable=False),
        sa.Column("attempted_at", _time, nullable=True),
        sa.Column("delivered_at", _time, nullable=True),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("response", sa.Text(), nullable=True),
        sa.UniqueConstraint("webhook_id", "event_id"),
    )
    op.create_index("deliveries_of_webhook", "deliveries", ["webhook_id", "id"])
    op.create_index(
        "deliveries_pending",
        "deliveries",
        ["webhook_id", "next_attempt_at"],
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index("deliveries_by_age", "deliveries", ["created_at"])
    op.execute(ADDRESS)
    op.execute(TRIGGER)


def downgrade() -> None:
    op.execute("DROP TRIGGER events_to_webhooks ON events")
    op.execute("DROP FUNCTION address_event")
    op.drop_table("deliveries")
    op.drop_table("webhooks")
