"""How our processes end where they cannot begin: at once, with status 1, and a line that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROCESSES = [("worker",), ("worker.beat",), ("api", "--port", "1")]


def ended(*module: str, **settings: str) -> str:
    """What a process said that did not begin."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("HSU_")} | settings
    done = subprocess.run(
        [sys.executable, "-m", *module], env=own, capture_output=True, encoding="utf-8", check=False, timeout=60
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("module", [("worker",), ("api", "--port", "1")])
def test_without_settings_and_without_a_database_it_says_what_to_set(module: tuple[str, ...]) -> None:
    # PGPORT: whoever runs the tests may have a Postgres at the default address.
    said = ended(*module, PGPORT="1")
    assert "HSU_DATABASE_URL is not set, and postgresql://localhost/hsu does not answer" in said
    assert "set it, and HSU_REDIS_URL" in said


@pytest.mark.parametrize("module", PROCESSES)
def test_a_setting_that_cannot_be_meant_is_told_without_its_secret(module: tuple[str, ...]) -> None:
    said = ended(*module, HSU_DATABASE_URL="postgresql://hsu:top@secret@db/hsu")
    assert "HSU_DATABASE_URL: " in said
    assert "write %40" in said
    assert "secret" not in said
