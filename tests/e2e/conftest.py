"""The whole service as real processes, as `make up` starts it, over real engines."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

New = Callable[[], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def service(new_redis: New, new_database: New) -> Iterator[dict[str, str]]:
    """API, worker and beat, which end with the tests: url, key, folder, database_url and redis_url."""
    with _running(new_redis, new_database) as found:
        yield found


@pytest.fixture
def new_service(new_redis: New, new_database: New) -> Iterator[dict[str, str]]:
    """The same for one test, whose first study is study 1."""
    with _running(new_redis, new_database) as found:
        yield found


@contextmanager
def _running(new_redis: New, new_database: New) -> Iterator[dict[str, str]]:
    folder = Path(tempfile.gettempdir(), f"hsu-e2e-{secrets.token_hex(6)}")
    command = [sys.executable, "-m", "embedded", "up", "--parent-pipe", "--folder", str(folder)]
    with new_database() as database_url, new_redis() as redis_url:
        engines = {"database_url": database_url, "redis_url": redis_url}
        environment = {**os.environ, "HSU_DATABASE_URL": database_url, "HSU_REDIS_URL": redis_url}
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            ready = process.stdout.readline() if process.stdout else ""
            if not ready:
                pytest.fail("the service did not start; what it said is above")
            yield {**json.loads(ready), **engines, "folder": str(folder)}
        shutil.rmtree(folder)
