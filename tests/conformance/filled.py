"""The API as a real process, with something of everything in its database."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2
from samples import DIGITS, POINTS, ROOM, TRAINED
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.orm import Session
from stored_checkpoints import stored

from hsu_core.outcomes import Reference, Series
from hsu_jobs import attempts, database, lifecycle
from hsu_jobs.access import keys
from hsu_jobs.artifacts import logs
from hsu_jobs.cluster import workers
from hsu_jobs.curves import Point
from hsu_jobs.outcomes import Succeeded
from hsu_jobs.settings import Settings
from hsu_jobs.spec import parse
from hsu_jobs.tables import Role

FIRST_KEY = 1_000_000
"""Where the ids of keys go on after the first ones: generated calls revoke whatever has a small id."""


class Served(NamedTuple):
    """A running API, and a key to all of it."""

    url: str
    key: str
    job: int
    """One that succeeded, with curves, a checkpoint and a log."""
    process: int
    """The id of the API's process."""


@contextmanager
def serving(database_url: str, redis_url: str, **more: str) -> Iterator[Served]:
    """The API over these engines, answering; `more` are settings."""
    artifacts = Path(tempfile.mkdtemp(prefix="hsu-artifacts-"))
    key, job = _fill(database_url, artifacts)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "api", "--port", str(port), "--workers", "1"]
    environment = {**os.environ, "HSU_DATABASE_URL": database_url, "HSU_REDIS_URL": redis_url, **more}
    environment["HSU_ARTIFACTS_DIR"] = str(artifacts)
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(command, env=environment, stderr=log) as api:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_ready(url)
            yield Served(url, key, job, api.pid)
        finally:
            api.terminate()
            api.wait()
        log.seek(0)
        told = log.read()
    shutil.rmtree(artifacts)
    assert "unexpected error in" not in told, told[-5000:]


def _fill(database_url: str, artifacts: Path) -> tuple[str, int]:
    engine = create_engine(database.with_driver(database_url), poolclass=NullPool)
    with Session(engine, expire_on_commit=False) as session:
        key = _people(session)
        session.commit()
        job = _jobs(session, artifacts)
        session.commit()
    return key, job


def _people(session: Session) -> str:
    for name in ("ada", "bob", "eve"):
        keys.create(session, user=name, role=Role.MEMBER)
    session.execute(text(f"ALTER TABLE api_keys ALTER COLUMN id RESTART WITH {FIRST_KEY}"))
    return keys.create(session, user="root", role=Role.ADMIN)


def _jobs(session: Session, artifacts: Path) -> int:
    """One job that succeeded, one that runs, some that wait; and the machine that ran them."""
    owner = keys.issue(session, user="ada", role=Role.MEMBER).row.user
    specs = [parse(spec) for spec in (DIGITS, DIGITS, POINTS, DIGITS)]
    first, *_ = [lifecycle.submit(session, spec, owner=owner) for spec in specs]
    workers.register(session, ROOM.worker, pool="default", devices=ROOM.free, slots=2)
    session.commit()
    for done in (True, False):
        claim = attempts.claim(session, ROOM, Settings(lease="PT1H"))
        assert claim is not None
        session.flush()
        points = [Point(step, float(step), {Series("hidden_1", "mhe_s2"): 0.5}) for step in range(20)]
        references = {Series("hidden_1", "mhe_s2"): Reference(0.75, 0.25)}
        stored(session, claim, Settings(artifacts_dir=artifacts))
        attempts.progress(session, claim.token, step=19, points=points, references=references)
        logs.append(session, claim.token, 0, b"epoch 1\n" * 20, limit=10_000)
        if done:
            attempts.settle(session, claim.token, Succeeded(result=TRAINED), Settings())
        session.commit()
    return first.id


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx2.get(f"{url}/readyz").is_success:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    raise TimeoutError(f"{url} does not get ready")
