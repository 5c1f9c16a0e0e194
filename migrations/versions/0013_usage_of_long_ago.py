"""Usage of long ago is nothing, in place of an error.

0.5 to the power of 1,075 half-lives is below the smallest number, for which Postgres raises an error. One user who had
not run anything for so long kept every worker from claiming: the statement that chooses looks at all users.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_USAGE_NOW = """
CREATE OR REPLACE FUNCTION usage_now(usage float8, gpus int, since timestamptz, half_life float8) RETURNS float8
LANGUAGE sql STABLE AS $$
    SELECT gpus * half_life / ln(2.0::float8) + (usage - gpus * half_life / ln(2.0::float8))
         * power(0.5::float8, {half_lives})
$$
"""
_HALF_LIVES = "greatest(extract(epoch FROM now() - since), 0)::float8 / half_life"


def upgrade() -> None:
    op.execute(_USAGE_NOW.format(half_lives=f"least({_HALF_LIVES}, 100)"))


def downgrade() -> None:
    op.execute(_USAGE_NOW.format(half_lives=_HALF_LIVES))
