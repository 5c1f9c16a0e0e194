"""`python -m embedded up | down | demo` as people run them: real processes, and none of them left at the end."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import psutil
import pytest
from waiting import until

from embedded import children, engines, home, processes, restarts
from embedded.children import MARK
from embedded.errors import CannotStart
from embedded.restarts import Mender, Part
from embedded.up import down
from hsu_client.client import Client

SPEC = json.loads(Path(__file__).parents[2].joinpath("examples/digits-mhe.json").read_text())
ENGINES = {"postgres": engines.POSTGRES, "redis-server": engines.REDIS}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in which nothing runs at the end, whatever the test did."""
    place = Path(tempfile.gettempdir(), f"hsu-up-{secrets.token_hex(6)}")
    yield place
    down(place)
    shutil.rmtree(place, ignore_errors=True)


def _command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "embedded", *map(str, arguments)]


PROXIES = {"HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "socks5://127.0.0.1:1"}
"""Where nothing answers: this machine is asked without them."""


@contextmanager
def _up(folder: Path, *options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A running service that ends with us, behind proxies that do not answer, and its output when it was ready."""
    command = _command("up", "--parent-pipe", "--folder", folder, *options)
    own = {**os.environ, **PROXIES, **environment}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own) as process:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())


def _ours(folder: Path) -> dict[str, psutil.Process]:
    """The processes that `up` started for this folder, by what they are."""
    found = {}
    for process in children.marked_processes(folder):
        with suppress(psutil.Error):
            words = process.cmdline()
            name = next((name for name in ("api", "worker", "worker.beat") if words[1:3] == ["-m", name]), "runner")
            found[name] = process
    return found


def _parts(folder: Path) -> dict[str, psutil.Process]:
    """The processes that one machine is made of, the engines' too; of the web server's the first one."""
    found = {name: process for name, process in _ours(folder).items() if name != "runner"}
    servers = {name: engines.processes_of(folder).get(engine) for name, engine in ENGINES.items()}
    return found | {name: server for name, server in servers.items() if server}


def _is_ready(url: str) -> bool:
    with suppress(httpx2.TransportError):
        return httpx2.get(f"{url}/readyz", timeout=5).json() == {"database": "ok", "redis": "ok"}
    return False


def _alive(folder: Path) -> list[psutil.Process]:
    servers = processes.working_in(folder / "postgres", program="postgres")
    servers += processes.working_in(folder / "redis", program="redis-server")
    return [*servers, *children.marked_processes(folder)]


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*arguments), capture_output=True, text=True, check=False, timeout=120)


def test_a_second_up_refuses_down_stops_the_first_and_a_later_one_continues(folder: Path) -> None:
    with _up(folder) as (process, first):
        assert {"api", "worker", "worker.beat"} <= set(_ours(folder))
        second = _run("up", "--folder", folder)
        assert second.returncode == 1
        assert f"already running at {first['url']}" in second.stderr
        with Client(first["url"], first["key"]) as client:
            job = client.cancel(client.submit(SPEC)["id"])["id"]
        assert _run("down", "--folder", folder).stdout == f"stopped the service at {first['url']}\n"
        assert process.wait(timeout=10) == 0
    assert _alive(folder) == []
    assert _run("down", "--folder", folder).stdout == "stopped nothing: nothing ran\n"
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    with _up(folder) as (_, again):
        assert again["key"] == first["key"]
        with Client(again["url"], again["key"]) as client:
            assert client.job(job)["id"] == job
    assert _alive(folder) == []


def test_ctrl_c_stops_everything(folder: Path) -> None:
    command = _command("up", "--folder", folder)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        said = "".join(process.stdout.readline() for _ in range(7))
        assert "export HSU_URL=http://127.0.0.1:" in said
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    assert _alive(folder) == []


def test_what_a_killed_up_left_behind_is_replaced_by_the_next_and_stopped_by_down(folder: Path) -> None:
    with _up(folder) as (process, _):
        process.kill()
    old = {process.pid for process in _ours(folder).values()}
    assert len(old) >= 3  # a runner that waits for work may be among them
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with _up(folder, HSU_PORT=str(port)) as (process, told):
        assert told["url"] == f"http://127.0.0.1:{port}"
        assert old.isdisjoint(process.pid for process in _ours(folder).values())
        assert httpx2.get(f"{told['url']}/readyz").status_code == 200
        process.kill()
    assert "processes that a killed run left behind and the engines" in _run("down", "--folder", folder).stdout
    assert _alive(folder) == []


def test_what_dies_is_started_again_the_engines_too(folder: Path) -> None:
    with _up(folder) as (process, told):
        old = _parts(folder)
        assert old.keys() == {"api", "worker", "worker.beat", "postgres", "redis-server"}
        for part in old.values():
            part.kill()
        until(lambda: _parts(folder).keys() == old.keys() and _is_ready(told["url"]), seconds=60)
        new = _parts(folder)
        assert all(new[name].pid != old[name].pid for name in old)
        with Client(told["url"], told["key"]) as client:
            job = client.cancel(client.submit(SPEC)["id"])["id"]
            until(lambda: client.job(job)["state"] == "cancelled", seconds=60)  # it may have been taken at once
        assert process.poll() is None
    assert _alive(folder) == []


def test_what_dies_again_and_again_ends_everything_and_the_end_of_its_log_is_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "REST", 0.0)
    engines.prepare(folder)
    started = {"sick": children.start(folder, "sick", ["no.such.module"], {})}
    said: list[str] = []

    def start() -> None:
        started["sick"] = children.start(folder, "sick", ["no.such.module"], {})

    part = Part("sick", lambda: started["sick"].is_alive, start, lambda: started["sick"].last_words())
    mender = Mender([part], say=said.append)

    def gives_up() -> bool:
        try:
            mender.mend()
        except CannotStart as error:
            said.append(str(error))
            return True
        return False

    until(gives_up, seconds=60)
    assert len(said) == restarts.MOST + 1
    assert "sick ended 6 times within 10 minutes; status 1; the end of" in said[-1]
    assert "No module named" in said[-1]


def test_a_process_that_does_not_start_ends_everything_at_once(folder: Path) -> None:
    done = subprocess.run(
        _command("up", "--folder", folder),
        env={**os.environ, "HSU_SLOTS": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "HSU_SLOTS" in done.stderr
    assert _alive(folder) == []


def test_a_taken_port_is_passed_over_unless_it_was_asked_for(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = _run("up", "--folder", folder, "--port", port)
    assert refused.returncode == 1
    assert f"port {port} is taken" in refused.stderr
    assert _alive(folder) == []


def test_only_processes_of_this_folder_are_strays(folder: Path) -> None:
    engines.prepare(folder)
    other = {**os.environ, MARK: str(folder.parent)}
    ours = {**os.environ, MARK: str(folder.resolve())}
    with _sleeper(other) as stranger, _sleeper(ours) as stray:
        assert children.stop_strays(folder) == 1
        assert stray.wait(timeout=5) == -signal.SIGTERM
        assert stranger.poll() is None


def test_a_stray_that_ignores_sigterm_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines.prepare(folder)
    monkeypatch.setattr(children, "SECONDS_TO_STOP", 0.2)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(99)"
    )
    environment = {**os.environ, MARK: str(folder.resolve())}
    with subprocess.Popen([sys.executable, "-c", deaf], env=environment, stdout=subprocess.PIPE) as stray:
        assert stray.stdout is not None
        stray.stdout.readline()
        assert children.stop_strays(folder) == 1
        assert stray.wait(timeout=5) == -signal.SIGKILL


def test_a_note_of_somebody_who_was_killed_does_not_count(folder: Path) -> None:
    engines.prepare(folder)
    with home.occupy(folder) as note:
        home.write_note(note, home.Occupant(os.getpid(), "http://somewhere"))
        assert home.occupant(folder) == home.Occupant(os.getpid(), "http://somewhere")
    assert home.occupant(folder) is None


def test_the_demo_prints_accuracy_and_energies_and_leaves_a_picture_and_no_process(folder: Path) -> None:
    done = _run("demo", "--folder", folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    accuracy = next(float(line.split()[2]) for line in lines if line.startswith("test accuracy"))
    assert accuracy >= 95
    assert [line.split()[:2] for line in lines if "mhe_" in line] == [
        ["conv1", "mhe_s2_half"], ["conv2", "mhe_s2_half"], ["conv3", "mhe_s2_half"], ["classifier", "mhe_s2"],
    ]  # fmt: skip
    assert (folder / "energy-curves-1.png").read_bytes().startswith(b"\x89PNG")
    assert _alive(folder) == []


@contextmanager
def _sleeper(
    environment: dict[str, str], program: Sequence[str] = ("sleep", "99")
) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(program, env=environment) as process:
        yield process
        process.kill()
