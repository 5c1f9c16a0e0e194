"""Is a runner that was forked as good as one that was executed? Real processes, which wait for an attempt."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from live_runners import STARTING, runners
from waiting import until

from hsu_jobs.settings import Settings
from hsu_jobs.states import State
from hsu_jobs.tables import Job
from worker.fork_server import Runners
from worker.forked import Forked, ForkServer
from worker.supervisor import Supervisor


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    made = ForkServer(os.environ)
    yield made
    made.close()


@contextmanager
def forked(server: ForkServer) -> Iterator[Forked]:
    """A runner, which may not be forked yet."""
    made = server.fork()
    try:
        yield made
    finally:
        made.end()
        made.stdin.close()
        made.stdout.close()


def until_forked(runner: Forked) -> int:
    until(lambda: runner.poll() is None and runner.pid is not None, seconds=STARTING)
    assert runner.pid is not None
    return runner.pid


@pytest.fixture
def runner(server: ForkServer) -> Iterator[Forked]:
    with forked(server) as made:
        until_forked(made)
        yield made


def test_a_runner_whose_input_ends_exits_by_itself_and_its_status_is_known(runner: Forked) -> None:
    runner.stdin.close()
    until(lambda: runner.poll() == 0, seconds=STARTING)


def test_a_runner_that_cannot_read_its_order_says_why_and_its_status_is_known(runner: Forked) -> None:
    runner.stdin.write(b"not an order\n")
    runner.stdin.flush()
    until(lambda: runner.poll() == 1, seconds=STARTING)
    assert b"JSONDecodeError" in runner.stdout.read()


def test_a_signal_that_ended_a_runner_is_known(runner: Forked) -> None:
    assert runner.pid is not None
    os.kill(runner.pid, signal.SIGTERM)
    until(lambda: runner.poll() == -signal.SIGTERM, seconds=STARTING)


def test_a_runner_leads_a_session_of_its_own_and_has_no_socket_of_its_server(
    server: ForkServer, runner: Forked
) -> None:
    with forked(server) as other:
        pid = until_forked(other)
        until(lambda: os.getsid(pid) == pid, seconds=STARTING)
        until(lambda: not any(str(file).startswith("socket:") for file in _files(pid)), seconds=STARTING)


def _files(pid: int) -> list[Path]:
    return [file.readlink() for file in Path(f"/proc/{pid}/fd").iterdir()]


def test_a_runner_that_is_not_forked_yet_can_be_ended() -> None:
    server = ForkServer(os.environ)
    with forked(server) as early:
        early.end()
        assert early.poll() == -signal.SIGKILL
    with forked(server) as later:
        pid = until_forked(later)
        children = psutil.Process(server.process_id).children
        until(lambda: [child.pid for child in children()] == [pid], seconds=STARTING)
    server.close()


def test_if_the_server_is_killed_its_runners_end_and_it_is_started_again() -> None:
    server = ForkServer(os.environ)
    with forked(server) as before:
        running = psutil.Process(until_forked(before))
        os.kill(server.process_id, signal.SIGKILL)
        until(lambda: before.poll() == -signal.SIGKILL, seconds=STARTING)
        until(lambda: not running.is_running() or running.status() == psutil.STATUS_ZOMBIE, seconds=STARTING)
    until(lambda: server.has_ended, seconds=STARTING)
    with forked(server) as after:
        until_forked(after)
    server.close()


def test_where_no_process_can_be_made_the_runner_counts_as_killed_and_the_server_goes_on(
    server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    ours, theirs = socket.socketpair()
    with ours, theirs, monkeypatch.context() as patched:
        patched.setattr(server, "_orders", ours)
        patched.setattr(os, "fork", refused)
        patched.setattr(signal, "set_wakeup_fd", lambda _: -1)  # pytest keeps its own
        patched.setattr(signal, "signal", lambda *_: None)
        with forked(server) as none:
            ours.shutdown(socket.SHUT_WR)
            serving = Runners(theirs)
            assert not serving.serve()  # it went on until there were no more orders
            assert none.poll() == -signal.SIGKILL
        serving.close()


def test_without_a_spare_a_runner_is_executed(
    fast: Settings, submit: Callable[..., int], job: Callable[[int], Job], supervise: Callable[..., Supervisor]
) -> None:
    made = submit(record={"every": 1}, duration={"steps": 300})
    supervise(fast.model_copy(update={"spare_runner": False}))
    until(lambda: any("worker.runner" in each.cmdline() for each in runners()), seconds=STARTING)
    until(lambda: job(made).state is State.SUCCEEDED, seconds=STARTING)
