"""What every test may ask for: real engines, a fresh migrated database, an empty Redis database.

The engines are private ones from wheels, unless HSU_TEST_DATABASE_URL and HSU_TEST_REDIS_URL name others; there the
tests make databases of their own, and leave nothing behind. Where pytest-xdist divides the tests among processes, its
controller starts the engines and makes the database that is copied, before the first process starts: all use those.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import kernel_kills
import psycopg
import pytest
import redis
from psycopg import sql
from reused_database import ReusedDatabase
from sqlalchemy import make_url

from embedded.engines import Engines
from hsu_core import spec
from hsu_core.data import files
from hsu_jobs import database


def pytest_configure(config: pytest.Config) -> None:
    """Keep the settings of whoever runs the tests away from them, and torch to one thread.

    Beside two busy processes on two cores, the digits job takes 25 to 53 s with two threads, 9 to 19 s with one.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell that runs us in the background lets us ignore it,
        signal.signal(signal.SIGINT, signal.default_int_handler)  # and so would every process that a test starts
    # A test's transaction stays open while its process waits for a core; on a busy machine that may take long.
    database.CONNECT["options"] = str(database.CONNECT["options"]).replace("timeout=10s", "timeout=10min")
    _keep_apart(config.rootpath)
    for name in [name for name in os.environ if name.startswith("HSU_")]:
        if not name.startswith("HSU_TEST_") and name != "HSU_DATA_DIR":
            del os.environ[name]
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Controller())


def _keep_apart(checkout: Path) -> None:
    """Give the runs of this checkout a temporary folder of their own.

    pytest closes the folder of all runs to other users whenever one starts, and a Postgres that runs as another user
    then loses its files.
    """
    name = f"hsu-tests-{zlib.crc32(os.fsencode(checkout)):08x}"
    folder = Path(tempfile.gettempdir(), name)
    folder.mkdir(exist_ok=True)
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(folder))


class Shared(NamedTuple):
    """What is started once for the whole run."""

    engines: Engines
    template: str
    """The name of a migrated database, to be copied."""


class Controller:
    """Where the tests are divided: starts what they share, and ends it after the last process has ended."""

    def __init__(self) -> None:
        self._ending = ExitStack()
        self._shared: Shared | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a process what is there for it, before it starts."""
        self._shared = self._shared or self._ending.enter_context(_sharing())
        node.workerinput["shared"] = [*asdict(self._shared.engines).values(), self._shared.template]

    def pytest_unconfigure(self) -> None:
        """Drop the database, and let the engines go."""
        self._ending.close()


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest) -> Iterator[Shared]:
    """What the controller has started, or what this process starts for itself where it runs all tests."""
    if told := getattr(request.config, "workerinput", None):
        *urls, template = told["shared"]
        yield Shared(Engines(*urls), template)
        return
    with _sharing() as started:
        yield started


@pytest.fixture(scope="session")
def engines(shared: Shared) -> Engines:
    """PostgreSQL and Redis for the whole run."""
    return shared.engines


@contextmanager
def _sharing() -> Iterator[Shared]:
    name = f"hsu_test_{secrets.token_hex(6)}"
    with _running() as engines:
        _administer(engines, "CREATE DATABASE {}", name)
        database.migrate(_url(engines, name))
        yield Shared(engines, name)
        _administer(engines, "DROP DATABASE {} WITH (FORCE)", name)


@contextmanager
def _running() -> Iterator[Engines]:
    """PostgreSQL and Redis; our own ones end with this process, however it ends."""
    given = {"database_url": os.environ.get("HSU_TEST_DATABASE_URL"), "redis_url": os.environ.get("HSU_TEST_REDIS_URL")}
    urls = {name: url for name, url in given.items() if url}
    if len(urls) == len(given):
        yield Engines(**urls)
        return
    folder = Path(tempfile.gettempdir(), f"hsu-test-{secrets.token_hex(6)}")
    command = [sys.executable, "-m", "embedded", "engines", str(folder), "--temporary"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        ready = process.stdout.readline() if process.stdout else ""
        if not ready:
            pytest.exit("the embedded engines did not start; what they said is above", returncode=1)
        yield Engines(**json.loads(ready) | urls)


New = Callable[[], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def new_database(shared: Shared) -> New:
    """Makes a fresh, migrated database; its URL is good inside the `with`."""

    @contextmanager
    def made() -> Iterator[str]:
        name = _copied(shared)
        yield _url(shared.engines, name)
        _administer(shared.engines, "DROP DATABASE {} WITH (FORCE)", name)

    return made


@pytest.fixture(scope="session")
def reused_database(shared: Shared) -> Iterator[ReusedDatabase]:
    """The database that the tests of this process use one after the other."""
    reused = ReusedDatabase(
        partial(_administer, shared.engines), partial(_url, shared.engines), partial(_copied, shared)
    )
    yield reused
    reused.close()


@pytest.fixture
def database_url(request: pytest.FixtureRequest, reused_database: ReusedDatabase, new_database: New) -> Iterator[str]:
    """An empty, migrated database of one's own; a new one for a test with the mark `new_database`."""
    is_new = request.node.get_closest_marker("new_database") is not None
    with new_database() if is_new else reused_database.emptied() as url:
        yield url


@pytest.fixture(scope="session")
def new_redis(engines: Engines) -> Callable[[], AbstractContextManager[str]]:
    """Claims an empty numbered Redis database that nobody else uses; its URL is good inside the `with`.

    Each service needs one of its own: a worker would answer the doorbell of another.
    """

    @contextmanager
    def claimed() -> Iterator[str]:
        with redis.Redis.from_url(engines.redis_url) as server:
            number, claim = _claim(server, engines.redis_url)
            yield _numbered(engines.redis_url, number)
            with redis.Redis.from_url(_numbered(engines.redis_url, number)) as used:
                used.flushdb()
            server.delete(claim)

    return claimed


@pytest.fixture(scope="session")
def redis_database(new_redis: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """The Redis database that the tests use one after the other."""
    with new_redis() as url:
        yield url


@pytest.fixture
def redis_url(redis_database: str) -> Iterator[str]:
    """An empty Redis database of one's own."""
    with redis.Redis.from_url(redis_database) as client:
        client.flushdb()
        yield redis_database
        client.flushdb()


@pytest.fixture(scope="session")
def data_dir() -> Callable[[spec.Dataset], Path]:
    """The folder that holds a real data set; a skip that says what is missing if it is not there."""

    def found(dataset: spec.Dataset) -> Path:
        folder = os.environ.get("HSU_DATA_DIR")
        try:
            files.require(dataset, Path(folder) if folder else None)
        except files.DatasetNotFound as missing:
            pytest.skip(f"set HSU_DATA_DIR: {missing}")
        return Path(folder or "")

    return found


kernel_kills_nobody = pytest.fixture(kernel_kills.none_meanwhile)
"""For tests that kill a runner and look why it ended."""
kernel_kills_alone = pytest.fixture(kernel_kills.alone)
"""For tests that make the kernel kill a runner."""


def _copied(shared: Shared) -> str:
    name = f"{shared.template}_{secrets.token_hex(4)}"
    _administer(shared.engines, "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, shared.template)
    return name


def _administer(engines: Engines, statement: str, *names: str) -> None:
    address = make_url(engines.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _url(engines: Engines, name: str) -> str:
    return make_url(engines.database_url).set(database=name).render_as_string(hide_password=False)


def _claim(server: redis.Redis, url: str) -> tuple[int, str]:
    for number in itertools.count(1):
        claim = f"hsu-test:database:{number}"
        with redis.Redis.from_url(_numbered(url, number)) as candidate:
            try:
                is_empty = candidate.dbsize() == 0
            except redis.ResponseError:  # the server has no database of this number
                break
            if is_empty and server.set(claim, os.getpid(), nx=True, ex=3600):
                return number, claim
    pytest.exit("HSU_TEST_REDIS_URL: no database from 1 on is empty, and the tests need one", returncode=1)


def _numbered(url: str, number: int) -> str:
    """The same server's database of this number, in the form that the URL has."""
    bare = url.partition("?")[0]
    if bare.startswith("unix://"):
        return f"{bare}?db={number}"
    scheme, _, rest = bare.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/{number}"
