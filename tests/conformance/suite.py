"""Ask a running API what its OpenAPI document allows and forbids, and look whether it answers as the document says.

    python tests/conformance/suite.py --examples 60     `make conformance`: some seven thousand calls

Schemathesis makes the calls, with all of its checks: no 5xx, no status, header or body that is not documented, nothing
accepted that the schema forbids, nothing refused that it allows, no way around the key.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click

sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance import hostile
from conformance.filled import FIRST_KEY, Served, serving

from embedded import engines
from hsu_jobs import database

_HERE = Path(__file__).parent
_UNLIMITED = {"HSU_RATE_LIMIT": "0", "HSU_FAILURES_A_MINUTE": "0", "HSU_LOG_LEVEL": "warning"}


class Verdict(NamedTuple):
    """What came of it."""

    calls: int
    is_good: bool
    report: str


def ask(served: Served, *, examples: int, seed: int | None = None, phases: str | None = None) -> Verdict:
    """Make up to `examples` generated calls to each route, beside those that cover its schema."""
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        str(_HERE / "schemathesis.toml"),
        "--no-color",
    ]
    command += ["run", f"{served.url}/openapi.json", "--header", f"Authorization: Bearer {served.key}"]
    command += ["--checks", "all", "--max-examples", str(examples)]
    command += ["--seed", str(seed)] if seed is not None else []
    command += ["--phases", phases] if phases else []
    own = {"SCHEMATHESIS_HOOKS": "hooks", "HSU_ENDED_JOB": str(served.job), "HSU_FIRST_KEY": str(FIRST_KEY)}
    done = subprocess.run(command, cwd=_HERE, env=os.environ | own, capture_output=True, text=True, check=False)
    counted = re.search(r"(\d+) generated", done.stdout)
    return Verdict(int(counted[1]) if counted else 0, done.returncode == 0, done.stdout + done.stderr)


@contextmanager
def unlimited(database_url: str, redis_url: str) -> Iterator[Served]:
    """The API for a client that may ask as often as it likes."""
    with serving(database_url, redis_url, **_UNLIMITED) as served:
        yield served


@click.command()
@click.option("--examples", default=60, show_default=True)
@click.option("--seed", type=int)
def main(examples: int, seed: int | None) -> None:
    """Ask, and exit with 1 unless every answer was as documented."""
    with tempfile.TemporaryDirectory(prefix="hsu-conformance-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL runs as a user of its own where we are root
        home = Path(folder, "engines")
        urls = engines.start(home, durable=False)
        try:
            database.migrate(urls.database_url)
            with unlimited(urls.database_url, urls.redis_url) as served:
                faults = hostile.faults(served)
                verdict = ask(served, examples=examples, seed=seed)
        finally:
            engines.stop(home)
    click.echo(verdict.report)
    click.echo("\n".join(["hostile bodies:", *(faults or ["all refused as they should be"])]))
    sys.exit(not verdict.is_good or bool(faults))


if __name__ == "__main__":
    main()
