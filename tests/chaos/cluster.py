"""A whole cluster to be broken: its own Postgres and Redis, an API, beat, and two workers as on two machines.

Each worker has a data folder and a working folder of its own; they share the database, the broker and the artifacts.
What is killed is started again by `mend`, as a process manager would.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx2
import psutil
import redis
import sqlalchemy
from live_runners import is_runner
from proxy import Road, road_to_postgres
from sqlalchemy.orm import Session
from waiting import until

from embedded import children, engines, processes, up
from embedded.children import Child
from hsu_client.client import Client
from hsu_jobs import database

WORKERS = ("worker-1", "worker-2")
DATA = os.environ.get("HSU_DATA_DIR")
"""Data sets that both workers can read; without them only the bundled digits."""
LEASE = 3.0
"""Seconds; the other clocks of the suite are shorter still."""
SWEEP = 1.0
DISK = "64m"
"""Room for checkpoints, where a file system of our own can be mounted."""


class Cluster:
    """The processes of one cluster, by name: api, beat, worker-1, worker-2."""

    def __init__(self, folder: Path, *, settings: dict[str, str]) -> None:
        self.folder = folder
        self.artifacts = folder / "artifacts"
        """What the processes are told: a link, so that it can be taken away or lead elsewhere, as a mount point can."""
        self._disk = folder / "disk"
        self._disk.mkdir()
        self.artifacts.symlink_to(self._disk)
        self.has_own_disk = _mounted(self._disk)
        self.engines = engines.start(folder)
        self.port = _free_port()
        self._settings = settings
        self._children: dict[str, Child] = {}
        self._undo = ExitStack()
        self.roads: dict[str, Road] = {}
        """Each worker's to the database."""
        self._over: dict[str, str] = {}
        database.migrate(self.engines.database_url)
        self._engine = sqlalchemy.create_engine(self.engines.database_url, poolclass=sqlalchemy.NullPool)
        for name in ("api", "beat", *WORKERS):
            self.start(name)
        self.wait_for_api()
        self.key = self._key()
        self.client = Client(self.url, self.key, timeout=60)

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"http://127.0.0.1:{self.port}"

    def session(self) -> Session:
        """A session on the cluster's database."""
        return Session(self._engine)

    def start(self, name: str) -> None:
        """Start one of the processes."""
        commands = up.commands(self.folder, self.port, f"{name}@here")
        home = self.folder / name
        home.mkdir(exist_ok=True)
        for data in Path(DATA).resolve().iterdir() if DATA else ():
            home.joinpath(data.name).unlink(missing_ok=True)
            home.joinpath(data.name).symlink_to(data)
        environment = self.environment() | {"HSU_WORKER_NAME": name, "HSU_DATA_DIR": str(home)}
        if name in WORKERS:
            environment["HSU_DATABASE_URL"] = self._database_over_road(name)
        self._children[name] = children.start(
            self.folder, name, commands["worker" if name in WORKERS else name], environment
        )

    def _database_over_road(self, name: str) -> str:
        """The database's URL over a road of this worker's own, which can be cut."""
        if name not in self.roads:
            self.roads[name], self._over[name] = self._undo.enter_context(road_to_postgres(self.engines.database_url))
        return self._over[name]

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one of the processes."""
        self._children[name].process.send_signal(number)

    def wait(self, name: str, *, seconds: float) -> int:
        """The exit status of one of the processes; TimeoutExpired if it does not end in time."""
        return self._children[name].process.wait(timeout=seconds)

    def kill(self, name: str) -> None:
        """Kill one of the processes, and only it."""
        self._children[name].process.kill()
        self._children[name].process.wait()

    def mend(self) -> None:
        """Start what has ended."""
        for name, child in list(self._children.items()):
            if child.process.poll() is not None:
                self.start(name)

    def runners(self) -> list[psutil.Process]:
        """The processes that train or are ready to."""
        return [process for process in children.marked_processes(self.folder) if is_runner(process)]

    def restart_redis(self) -> None:
        """Stop Redis, and start it again with what it had written down."""
        self.stop_redis()
        self.start_redis()

    def stop_redis(self) -> None:
        """Stop Redis."""
        engines.redis_server.stop(self.folder.resolve() / "redis")

    def start_redis(self) -> None:
        """Start Redis."""
        engines.redis_server.start(self.folder.resolve() / "redis")

    def flush_redis(self) -> None:
        """Empty Redis."""
        with redis.Redis.from_url(self.engines.redis_url) as client:
            client.flushall()

    def restart_postgres(self) -> None:
        """Kill every connection and the server, and start it again."""
        data = self.folder.resolve() / "postgres"
        engines.postgres.stop(data)
        engines.postgres.start(data)

    def kill_postgres(self) -> None:
        """kill -9 of the server; it stays down."""
        server = engines.postgres.running(self.folder.resolve() / "postgres")
        assert server is not None
        server.kill()

    def start_postgres(self) -> None:
        """Start Postgres."""
        engines.postgres.start(self.folder.resolve() / "postgres")

    def configure_postgres(self, setting: str, value: str) -> None:
        """Change a setting of the server, for those who are connected too."""
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sqlalchemy.text(f"ALTER SYSTEM SET {setting} = {value}"))
            connection.execute(sqlalchemy.text("SELECT pg_reload_conf()"))

    def tell_redis(self, *command: str) -> None:
        """Run one command in Redis."""
        with redis.Redis.from_url(self.engines.redis_url) as client:
            client.execute_command(*command)  # type: ignore[no-untyped-call]

    @contextmanager
    def without_artifacts(self, *, instead: Path | None = None) -> Iterator[None]:
        """A time in which the folder for checkpoints is gone, or another one is in its place."""
        self.artifacts.unlink()
        if instead:
            self.artifacts.symlink_to(instead)
        try:
            yield
        finally:
            self.artifacts.unlink(missing_ok=True)
            self.artifacts.symlink_to(self._disk)

    def wait_for_api(self) -> None:
        """Return when the API can work."""
        until(self._is_ready, seconds=60)

    def environment(self) -> dict[str, str]:
        """What the processes of the cluster are told."""
        told = {
            "DATABASE_URL": self.engines.database_url,
            "REDIS_URL": self.engines.redis_url,
            "ARTIFACTS_DIR": str(self.artifacts),
            "HEARTBEAT": "0.5",
            "LEASE": str(LEASE),
            "POLL": "1",
            "SWEEP": str(SWEEP),
            "FLUSH": "0.2",
            "RETRY_AFTER": "0.1",
            "SHUTDOWN": "10",
            "REDIS_VISIBILITY": "5",
            **self._settings,
        }
        return {f"HSU_{name}": value for name, value in told.items()} | {"OMP_NUM_THREADS": "1"}

    def close(self) -> list[psutil.Process]:
        """Stop everything; returns the processes that would not end by themselves."""
        self._engine.dispose()
        with suppress(AttributeError):
            self.client.close()
        for child in self._children.values():
            child.process.send_signal(signal.SIGCONT)
            child.process.terminate()
        left = processes.wait_until_gone(children.marked_processes(self.folder), seconds=30)
        processes.kill(left)
        for child in self._children.values():
            child.process.wait()
        self._undo.close()
        engines.stop(self.folder)
        if self.has_own_disk:
            subprocess.run(["umount", "--lazy", str(self._disk)], check=True)
        return left

    def _is_ready(self) -> bool:
        with suppress(httpx2.TransportError):
            return httpx2.get(f"{self.url}/readyz", timeout=5).status_code == httpx2.codes.OK
        return False

    def _key(self) -> str:
        made = subprocess.run(
            [children.sys.executable, "-m", "hsu_jobs.admin", "create-key", "--user", "ada", "--role", "admin"],
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            check=True,
        )
        return made.stdout.strip()


@contextmanager
def cluster(**settings: str) -> Iterator[Cluster]:
    """A cluster for the time of the `with`; no process may outlive it."""
    folder = Path(tempfile.gettempdir(), f"hsu-chaos-{secrets.token_hex(6)}")
    engines.prepare(folder)
    made = Cluster(folder, settings=settings)
    try:
        yield made
    finally:
        left = made.close()
        shutil.rmtree(folder)
    assert not left, f"processes were left behind: {left}"


def _mounted(place: Path) -> bool:
    """Whether a small file system of its own could be mounted there: root can."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
    with suppress(OSError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
