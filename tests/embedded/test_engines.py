"""Real engines in a folder: they start, stop, are adopted, keep their data, and die with whoever held them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from sqlalchemy import make_url

from embedded import engines, postgres, redis_server
from embedded.engines import Engines
from embedded.errors import CannotStart


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose engines are down at the end, whatever the test did."""
    place = tmp_path_factory.mktemp("engines") / "home"
    yield place
    engines.stop(place)


def _query(urls: Engines, statement: str) -> list[tuple[object, ...]]:
    address = make_url(urls.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def _server(urls: Engines) -> redis.Redis:
    return redis.Redis.from_url(urls.redis_url)


def _processes(folder: Path) -> list[psutil.Process]:
    """Every living process that has its working directory, or an argument, below the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            below = str(folder) in " ".join(process.cmdline()) or folder in Path(process.cwd()).parents
            if below and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, FileNotFoundError):
            continue
    return found


def _gone_within(seconds: float, folder: Path) -> bool:
    deadline = time.monotonic() + seconds
    while _processes(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _processes(folder)


def test_postgres_18_and_redis_answer_and_stop_without_a_trace(folder: Path) -> None:
    urls = engines.start(folder)
    assert _query(urls, "SHOW server_version")[0][0].startswith("18")  # type: ignore[attr-defined]
    with _server(urls) as server:
        assert server.ping()
    engines.stop(folder)
    assert _gone_within(2, folder)


def test_data_survive_a_restart(folder: Path) -> None:
    urls = engines.start(folder)
    _query(urls, "CREATE TABLE kept AS SELECT 7 AS n")
    with _server(urls) as server:
        server.set("kept", "7")
    engines.stop(folder)
    urls = engines.start(folder)
    assert _query(urls, "SELECT n FROM kept") == [(7,)]
    with _server(urls) as server:
        assert server.get("kept") == b"7"


def test_data_survive_a_kill_of_both_servers(folder: Path) -> None:
    urls = engines.start(folder)
    _query(urls, "CREATE TABLE kept AS SELECT 7 AS n")
    for process in _processes(folder):
        process.kill()
    assert _gone_within(5, folder)
    urls = engines.start(folder)
    assert _query(urls, "SELECT n FROM kept") == [(7,)]


def test_servers_that_run_are_adopted(folder: Path) -> None:
    first = engines.start(folder)
    before = {process.pid for process in _processes(folder)}
    assert engines.start(folder) == first
    server = postgres.running(folder / "postgres")
    assert server is not None
    assert server.pid in before


def test_a_process_id_that_another_program_got_does_not_pass_for_a_server(folder: Path) -> None:
    engines.start(folder)
    engines.stop(folder)
    note = folder / "postgres" / "postmaster.pid"
    note.write_text(f"{os.getpid()}\n{folder}/postgres\n1\n5432\n{folder}/postgres\n\n1 1\nready\n")
    assert postgres.running(folder / "postgres") is None
    assert _query(engines.start(folder), "SELECT 1") == [(1,)]


def test_engines_given_by_url_are_used_and_not_started(folder: Path) -> None:
    urls = engines.start(folder, database_url="postgresql://elsewhere/hsu", redis_url="redis://elsewhere")
    assert urls == Engines(database_url="postgresql://elsewhere/hsu", redis_url="redis://elsewhere")
    assert _processes(folder) == []


def test_a_path_too_long_for_a_socket_gets_a_private_folder_that_is_removed(folder: Path) -> None:
    long = folder / ("long" * 30) / "with, a comma and blanks"
    urls = engines.start(long)
    socket = Path(make_url(urls.database_url).query["host"])  # type: ignore[arg-type]
    try:
        assert _query(urls, "SELECT 1") == [(1,)]
        assert engines.start(long) == urls
        with _server(urls) as server:
            assert server.ping()
        assert socket.stat().st_mode & 0o077 == 0
    finally:
        engines.stop(long)
    assert not socket.exists()


def test_without_redis_server_on_the_path_the_wheels_own_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    url = redis_server.start(_made(folder) / "redis")
    with redis.Redis.from_url(url) as server:
        assert server.info("server")["redis_version"].startswith("6.2.")


def test_a_redis_that_cannot_start_says_why(folder: Path) -> None:
    data = _made(folder) / "redis"
    (data / "redis.sock").mkdir(parents=True)
    (data / "redis.sock" / "full").touch()
    with pytest.raises(CannotStart, match=r"Redis did not start on .*/redis;"):
        redis_server.start(data)


def test_a_file_that_redis_cannot_read_is_set_aside_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = _made(folder) / "redis"
    url = redis_server.start(data)
    with redis.Redis.from_url(url) as server:
        server.set("a", "b")
    redis_server.stop(data)
    written = list(data.rglob("appendonly*.aof"))
    assert written
    for file in written:
        file.write_bytes(b"*3\r\n$3\r\nSET\r\nthis is no length\r\n" + file.read_bytes())
    assert redis_server.start(data) == url
    with redis.Redis.from_url(url) as server:
        assert server.get("a") is None
    (aside,) = data.glob("damaged-*")
    assert list(aside.iterdir())
    assert f"set aside in {aside}" in capsys.readouterr().err


def test_a_redis_that_its_files_do_not_keep_from_starting_keeps_them(folder: Path) -> None:
    data = _made(folder) / "redis"
    (data / "redis.sock").mkdir(parents=True)
    (data / "redis.sock" / "full").touch()
    (data / "appendonly.aof").write_bytes(b"")
    with pytest.raises(CannotStart, match=r"Redis did not start on .*/redis;"):
        redis_server.start(data)
    assert (data / "appendonly.aof").exists()
    assert list(data.glob("damaged-*")) == []


def test_a_postgres_that_was_killed_starts_again_though_somebody_is_connected(folder: Path) -> None:
    data = _made(folder) / "postgres"
    url = postgres.start(data, durable=False)
    urls = Engines(url, "")
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg.connect(address)) as connection:
        connection.execute("SELECT 1")
        server = postgres.running(data)
        assert server is not None
        server.kill()
        assert postgres.start(data, durable=False) == url
    assert _query(urls, "SELECT 1") == [(1,)]


def test_a_postgres_that_cannot_start_shows_the_end_of_its_log(folder: Path) -> None:
    data = _made(folder) / "postgres"
    postgres.start(data)
    postgres.stop(data)
    with (data / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(CannotStart, match="no_such_setting"):
        postgres.start(data)


def test_a_folder_with_strange_contents_is_refused_and_left_alone(folder: Path) -> None:
    data = _made(folder) / "postgres"
    data.mkdir()
    _give_to_postgres(data)
    (data / "thesis.tex").write_text("years of work")
    with pytest.raises(CannotStart, match="holds something else"):
        postgres.start(data)
    assert (data / "thesis.tex").read_text() == "years of work"


def test_data_of_another_user_are_refused(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    data = _made(folder) / "postgres"
    data.mkdir()
    with pytest.raises(CannotStart, match="belongs to user id 0"):
        postgres.start(data)


def test_as_root_private_folders_above_the_data_are_opened_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root runs PostgreSQL as somebody else")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    postgres.start(private / "postgres")
    postgres.stop(private / "postgres")
    assert f"opening {private}" in capsys.readouterr().err
    assert private.stat().st_mode & 0o777 == 0o701


def test_nobody_else_reaches_the_data(folder: Path) -> None:
    engines.start(folder)
    assert (folder / "postgres").stat().st_mode & 0o077 == 0
    assert (folder / "redis").stat().st_mode & 0o077 == 0


_HOLDER = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background inherits it ignored
command = [sys.executable, "-m", "embedded", "engines", sys.argv[1], "--temporary"]
held = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(held.stdout.readline(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_engines_end_with_their_parent_however_it_ends(folder: Path, ending: signal.Signals) -> None:
    command = [sys.executable, "-c", _HOLDER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as holder:
        assert holder.stdout is not None
        assert _query(Engines(**json.loads(holder.stdout.readline())), "SELECT 1") == [(1,)]
        holder.send_signal(ending)
    assert _gone_within(10, folder)
    assert not folder.exists()


def test_engines_ignore_the_terminals_ctrl_c_and_stop_on_sigterm(folder: Path) -> None:
    command = [sys.executable, "-m", "embedded", "engines", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as held:
        assert held.stdout is not None
        urls = Engines(**json.loads(held.stdout.readline()))
        held.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert _query(urls, "SELECT 1") == [(1,)]
        held.send_signal(signal.SIGTERM)
        assert held.wait(timeout=20) == 0
    assert _gone_within(5, folder)
    assert (folder / "postgres" / "PG_VERSION").exists()


def _give_to_postgres(data: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(data, postgres.SYSTEM_USER)


def _made(folder: Path) -> Path:
    engines.prepare(folder)
    return folder
