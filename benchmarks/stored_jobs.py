"""Many jobs, written by the database itself: what there is after some months, for benchmarks and tests of lists."""

from __future__ import annotations

import psycopg

FILL = """
WITH job AS (
    SELECT n, n / %(users)s AS turn, (ARRAY['mhe', 'mhs', 'none', 'so'])[1 + n / %(users)s %% 4] AS regularizer
    FROM generate_series(1, %(jobs)s) AS n
)
INSERT INTO jobs (owner_id, name, tags, spec, fingerprint, state, wanted, priority, created_at, finished_at, result)
SELECT 1 + n %% %(users)s, 'run ' || n %% 977, ARRAY['sweep-' || turn %% 50, 'all'],
       jsonb_set(CAST(%(spec)s AS jsonb), '{regularizer}', jsonb_build_object('kind', regularizer)),
       encode(sha256(CAST(n / 2 AS text)::bytea), 'hex'),
       CASE WHEN turn %% 100 = 0 THEN 'queued' WHEN turn %% 10 = 0 THEN 'failed' ELSE 'succeeded' END, 'run', turn %% 3,
       now() - make_interval(secs => 30 * (%(jobs)s - n)), now(),
       CASE WHEN turn %% 10 > 0 THEN
           jsonb_build_object('task', 'classification', 'test_accuracy', n %% 9973 / 9973.0, 'test_loss', 1.5,
                              'train_loss', 1.0, 'penalty', 0.5, 'seconds', 60, 'steps_per_second', 100,
                              'parameters', 14442)
       END
FROM job
"""


def store(database_url: str, *, jobs: int, users: int, spec: str) -> None:
    """So many jobs, by turns of the first so many users; the database knows what it holds, as by autovacuum."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(FILL, {"jobs": jobs, "users": users, "spec": spec})
        connection.execute("VACUUM ANALYZE")
