"""How long does a study of a thousand jobs take to be accepted, and its table to be computed?

    python benchmarks/studies.py                        on the system's PostgreSQL and Redis, else on embedded ones
    python benchmarks/studies.py --arms 20 --seeds 50 --rounds 9

The API runs as in production (`embedded.up.API`), over a database of its own that is dropped at the end. A study of
arms × seeds jobs, one of which is the baseline, is submitted; the jobs are then given results by the database itself.
`table` has every number, of two metrics of the results; `examples` compares all arms on 10,000 test examples.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import psycopg
from asking import Service, engines_for, running
from databases import plain

RESULTS = """
UPDATE jobs SET state = 'succeeded', finished_at = now(), result = jsonb_build_object(
    'task', 'classification', 'test_accuracy', 0.9 + (id * 7919 % 1000) / 20000.0, 'test_loss', 0.4, 'train_loss', 0.3,
    'penalty', 0.5, 'seconds', 60, 'steps_per_second', 100 + id % 10, 'parameters', 14442)
"""
ANSWERS = """
INSERT INTO test_answers (job_id, count, bits)
SELECT id, 10000, substr(string_agg(sha256((id * 64 + n)::text::bytea), ''::bytea), 1, 1250)
FROM jobs, generate_series(1, 40) AS n GROUP BY id
"""


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--arms", type=int, default=20)
    options.add_argument("--seeds", type=int, default=50)
    options.add_argument("--rounds", type=int, default=9)
    given = options.parse_args()
    with engines_for(None) as both, running(both) as service:
        for name, seconds in measured(service, given.arms, given.seeds, given.rounds).items():
            times = ", ".join(f"{1e3 * quantile:.0f} ms" for quantile in np.quantile(seconds, (0.5, 1)))
            print(f"{name:<28} {times} (median and longest of {len(seconds)})")


def measured(service: Service, arms: int, seeds: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each request."""
    spec = study(arms, seeds)
    submit = partial(service.ask, "POST", "/v1/studies", json=spec | {"reuse": False})
    accepted = [_timed(submit) for _ in range(rounds)]
    with psycopg.connect(plain(service.database_url), autocommit=True) as own:
        own.execute(RESULTS)
        own.execute(ANSWERS)
        own.execute("VACUUM ANALYZE")
    asked = {
        "shown": "/v1/studies/1",
        "table": "/v1/studies/1/table",
        "table as LaTeX": "/v1/studies/1/table?format=latex",
        "examples": "/v1/studies/1/examples",
    }
    found = {f"{arms * seeds} jobs accepted": accepted}
    for name, path in asked.items():
        service.ask("GET", path)  # the first request of a process imports scipy
        found[name] = [_timed(partial(service.ask, "GET", path)) for _ in range(rounds)]
    return found


def study(arms: int, seeds: int) -> dict[str, Any]:
    """A study of so many arms, the baseline among them."""
    return {
        "name": "a thousand jobs",
        "base": {"dataset": {"kind": "digits"}, "model": {"kind": "mlp"}, "duration": {"epochs": 1}},
        "arms": {f"arm{n}": {"regularizer": {"kind": "mhe", "hidden_weight": n}} for n in range(1, arms)},
        "seeds": seeds,
        "metrics": ["test_accuracy", "test_loss"],
    }


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
