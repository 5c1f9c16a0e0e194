"""docs/tracking.md: every block of it runs, in order, against a real service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import serving

from hsu_jobs import database, settings
from hsu_jobs.access import keys
from hsu_jobs.artifacts import installation
from hsu_jobs.tables import Role

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"```(python|sh)\n(.*?)```", re.DOTALL)


def blocks(name: str) -> list[tuple[str, str]]:
    return BLOCK.findall(ROOT.joinpath(name).read_text(encoding="utf-8"))


def test_every_command_of_the_how_to_works(url_and_key: tuple[str, str], tmp_path: Path) -> None:
    url, key = url_and_key
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "HSU_URL": url, "HSU_API_KEY": key, "PATH": path}
    done = 0
    for kind, text in blocks("docs/tracking.md"):
        if text.startswith("export "):
            continue  # the address and the key of this test's service are set above
        command = [sys.executable, "-c", text] if kind == "python" else ["sh", "-ec", text]
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert ended.returncode == 0, f"{text}\n{ended.stdout}\n{ended.stderr}"
        done += 1
    assert done == 8


def test_the_loop_of_the_readme_runs(url_and_key: tuple[str, str]) -> None:
    url, key = url_and_key
    (loop,) = [text for kind, text in blocks("README.md") if kind == "python" and "hsu_client.track" in text]
    environment = {**os.environ, "HSU_URL": url, "HSU_API_KEY": key}
    ended = subprocess.run(
        [sys.executable, "-c", loop], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr


@pytest.fixture
def url_and_key(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[str, str]]:
    """A real API over an empty database, so that the first run is job 1; and a member's key."""
    monkeypatch.setenv("HSU_DATABASE_URL", database_url)
    monkeypatch.setenv("HSU_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    for cached in (settings.settings, database.engine):
        cached.cache_clear()
    with database.transaction() as session:
        key = keys.create(session, user="ada", role=Role.MEMBER)
        installation.marked_storage(session, settings.settings())  # as the first worker does
    with serving(database_url, redis_url) as api:
        yield api.url, key
    database.engine().dispose()
    for cached in (settings.settings, database.engine):
        cached.cache_clear()
