"""Start the whole service on this machine, keep it running, and stop it without a trace.

Engines, migrations, then the API, a worker and beat as processes of their own. Knows their command lines and one
folder. Knows nothing of what they do.
"""

from __future__ import annotations

import getpass
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import httpx2
import psutil
from celery import Celery

from embedded import children, engines, home, processes
from embedded.children import Child
from embedded.engines import Engines
from embedded.errors import CannotStart, Unwanted
from embedded.restarts import Mender, Part
from embedded.stop_request import StopRequest
from hsu_jobs.doorbell import broker_url

FIRST_PORT = 8000
API = ["api"]
"""The API's module and its arguments, except its address."""
SECONDS_TO_START = 120.0
"""A first start compiles and reads torch's files from a cold disk."""


@dataclass(frozen=True)
class Service:
    """The running service."""

    url: str
    key: str
    folder: Path
    children: dict[str, Child]
    """By name; a process that ended is replaced."""
    mend: Callable[[], None]
    """Starts parts that have ended. Raises `CannotStart` where that does not help."""

    def check(self) -> None:
        """Raise `CannotStart` if one of the processes has ended."""
        for child in self.children.values():
            child.check()


@contextmanager
def service(folder: Path, *, port: int | None, stop: StopRequest, say: Callable[[str], None]) -> Iterator[Service]:
    """The service while it runs. Raises `CannotStart`, or `Unwanted` if the request to stop came first."""
    engines.prepare(folder)
    with ExitStack() as undo:
        note = undo.enter_context(home.occupy(folder))
        if strays := children.stop_strays(folder):
            say(f"stopped {strays} processes that an earlier run left behind")
        undo.callback(engines.stop, folder)
        urls = _engines(folder)
        environment = _environment(folder, urls)
        _administer(folder, environment, "migrate")
        say("PostgreSQL and Redis are up, the tables are there")

        port = undo.enter_context(_free_port(port))
        url = f"http://127.0.0.1:{port}"
        node = f"hsu-{secrets.token_hex(3)}@{socket.gethostname()}"
        undo.callback(children.stop_strays, folder)
        started: dict[str, Child] = {}
        undo.callback(_stop_all, started)
        starts = {
            name: partial(_start_child, started, folder, name, module, environment)
            for name, module in commands(folder, port, node).items()
        }
        for start in starts.values():
            start()
        mender = Mender([*_engine_parts(folder), *_child_parts(started, starts)], say=say)
        everything = Service(url, "", folder, started, mender.mend)
        _wait(everything, stop, lambda: _is_ready(url), "the API does not get ready")
        _wait(everything, stop, lambda: _works(urls, node), "the worker does not answer")
        key = _key(folder, environment, url)
        home.write_note(note, home.Occupant(os.getpid(), url))
        yield replace(everything, key=key)


def _engines(folder: Path) -> Engines:
    """The engines; started unless they run already or are given by URL."""
    return engines.start(
        folder, database_url=os.environ.get("HSU_DATABASE_URL"), redis_url=os.environ.get("HSU_REDIS_URL")
    )


def _engine_parts(folder: Path) -> Iterator[Part]:
    """The engines that run in the folder; those given by URL are not restarted."""
    alive = engines.processes_of(folder)

    def start() -> None:
        _engines(folder)
        alive.update(engines.processes_of(folder))

    for name in alive:
        yield Part(name, partial(_lives, alive, name), start, partial(_log_is, folder, name))


def _lives(alive: Mapping[str, psutil.Process], name: str) -> bool:
    return processes.lives(alive[name])


def _log_is(folder: Path, name: str) -> str:
    return f"its log is {engines.log_of(folder, name)}"


def _child_parts(started: Mapping[str, Child], starts: Mapping[str, Callable[[], None]]) -> Iterator[Part]:
    for name, start in starts.items():
        yield Part(name, partial(_runs, started, name), start, partial(_last_words, started, name))


def _runs(started: Mapping[str, Child], name: str) -> bool:
    return started[name].is_alive


def _last_words(started: Mapping[str, Child], name: str) -> str:
    return started[name].last_words()


def _start_child(
    started: dict[str, Child], folder: Path, name: str, module: Sequence[str], environment: Mapping[str, str]
) -> None:
    if name in started:
        children.clear(started[name])
    started[name] = children.start(folder, name, module, environment)


def _stop_all(started: Mapping[str, Child]) -> None:
    for child in reversed(list(started.values())):
        children.stop(child)


def commands(folder: Path, port: int, node: str) -> dict[str, list[str]]:
    """The processes' commands by name, in the order in which they start."""
    return {
        "api": [*API, "--host", "127.0.0.1", "--port", str(port)],
        "worker": ["worker", "--hostname", node],
        "beat": ["worker.beat", "--schedule", str(folder / "beat-schedule")],
    }


def down(folder: Path) -> list[str]:
    """Stop everything that runs in the folder, also what a killed run left; returns what was stopped, in words."""
    stopped = []
    if (running := home.occupant(folder)) is not None:
        with_it = psutil.Process(running.pid)
        with_it.send_signal(signal.SIGTERM)
        processes.kill(processes.wait_until_gone([with_it], seconds=4 * children.SECONDS_TO_STOP))
        stopped.append(f"the service at {running.url}" if running.url else "the service")
    if strays := children.stop_strays(folder):
        stopped.append(f"{strays} processes that a killed run left behind")
    if engines.stop(folder) and not running:
        stopped.append("the engines")
    return stopped


def _environment(folder: Path, urls: Engines) -> dict[str, str]:
    return {
        "HSU_DATABASE_URL": urls.database_url,
        "HSU_REDIS_URL": urls.redis_url,
        "HSU_ARTIFACTS_DIR": os.environ.get("HSU_ARTIFACTS_DIR", str(folder.resolve() / "artifacts")),
        "HSU_DATASET_CACHE": os.environ.get("HSU_DATASET_CACHE", str(folder.resolve() / "dataset-cache")),
    }


def _administer(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    """Run one of the admin commands; returns its output."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "hsu_jobs.admin", *arguments],
        env=children.marked(folder, environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
        start_new_session=True,
    )
    if done.returncode:
        raise CannotStart(f"`python -m hsu_jobs.admin {arguments[0]}` failed:\n{done.stderr.strip()}")
    return done.stdout.strip()


def _key(folder: Path, environment: dict[str, str], url: str) -> str:
    """The stored admin key while it is valid, else a new one."""
    note = folder / "key"
    kept = note.read_text(encoding="utf-8").strip() if note.exists() else ""
    if kept and _opens(kept, url):
        return kept
    key = _administer(folder, environment, "create-key", "--user", _user(), "--role", "admin")
    note.touch(mode=0o600)
    note.write_text(f"{key}\n", encoding="utf-8")
    return key


def _opens(key: str, url: str) -> bool:
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx2.get(f"{url}/v1/jobs", params={"limit": 1}, headers=headers, timeout=10, trust_env=False)
    return answer.status_code == httpx2.codes.OK


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return "admin"


@contextmanager
def _free_port(wanted: int | None) -> Iterator[int]:
    """A port that nobody listens on, and that no other service of this machine chooses meanwhile."""
    for port in range(wanted or FIRST_PORT, (wanted or FIRST_PORT + 100) + 1):
        if claim := _claim(port):
            with claim:
                yield port
            return
    raise CannotStart(f"port {wanted or f'{FIRST_PORT} to {FIRST_PORT + 100}'} is taken: choose another with --port")


def _claim(port: int) -> socket.socket | None:
    """A claim on a free port, which lasts until it is closed; None if the port is taken or claimed.

    The API listens seconds after it was started: on a busy machine two services would find the same port free.
    """
    claim = socket.socket(socket.AF_UNIX)
    try:
        if sys.platform == "linux":
            claim.bind(f"\0hsu-port-{port}")  # a name without a file, which is gone with the process
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return None
    return claim


def _wait(everything: Service, stop: StopRequest, is_so: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while not is_so():
        everything.check()
        if time.monotonic() > deadline:
            raise CannotStart(f"{otherwise} within {SECONDS_TO_START:.0f} s; see {everything.folder / 'log'}")
        if stop.wait(0.1):
            raise Unwanted


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


def _works(urls: Engines, node: str) -> bool:
    with Celery(broker=broker_url(urls.redis_url), set_as_current=False) as caller:
        return bool(caller.control.ping(destination=[node], timeout=0.5, limit=1))
