"""What does it take to start a runner: one that is executed, and one that is forked from a process that has imported?

    python benchmarks/starts.py [--rounds 9]

Of each, from the order until it has read the end of its input: processor time, and wall time. The two take turns. Of a
forked one also the memory that it has for itself, and that of its server.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import psutil

from worker import forked, processes
from worker.forked import ForkServer

POLL = 0.0005


def executed() -> tuple[float, float]:
    """Seconds of processor time and of wall time."""
    began = time.perf_counter()
    runner = processes.Executed(os.environ)
    runner.stdin.close()
    seen = _followed(psutil.Process(runner.pid), lambda: runner.poll() is not None)
    runner.stdout.close()
    return seen, time.perf_counter() - began


def from_server(server: ForkServer) -> tuple[float, float]:
    """Seconds of processor time and of wall time."""
    before, began = _server_seconds(server), time.perf_counter()
    runner = server.fork()
    runner.stdin.close()
    _followed(None, lambda: runner.poll() is not None)
    wall = time.perf_counter() - began
    runner.end()
    runner.stdout.close()
    time.sleep(0.1)  # until the server has reaped it, and counts its time
    return _server_seconds(server) - before, wall


def _server_seconds(server: ForkServer) -> float:
    """The server's own processor time, and that of the runners that it has reaped."""
    return sum(psutil.Process(server.process_id).cpu_times()[:4])


def _followed(process: psutil.Process | None, ended: Callable[[], bool]) -> float:
    """The processor time of a process shortly before its end."""
    seen = 0.0
    while not ended():
        if process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            seen = sum(process.cpu_times()[:2])
        time.sleep(POLL)
    return seen


def memory(server: ForkServer) -> tuple[float, float]:
    """MB of the server, and MB that a waiting runner has for itself."""
    runner = server.fork()
    while runner.poll() is None and runner.pid is None:
        time.sleep(POLL)
    time.sleep(0.5)
    assert runner.pid is not None
    own = psutil.Process(runner.pid).memory_full_info().uss
    whole = psutil.Process(server.process_id).memory_info().rss
    runner.end()
    runner.stdin.close()
    runner.stdout.close()
    return whole / 1e6, own / 1e6


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    server = forked.server(os.environ)
    from_server(server)  # it has imported now
    taken = [(executed(), from_server(server)) for _ in range(rounds)]
    print(f"median of {rounds}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for place, name in enumerate(("executed", "forked")):
        processor, wall = (statistics.median(each[place][what] for each in taken) for what in (0, 1))
        print(f"{name:10} {1000 * processor:8.1f} ms of processor time {1000 * wall:8.1f} ms")
    whole, own = memory(server)
    print(f"server {whole:.0f} MB, of a waiting runner its own {own:.0f} MB")


if __name__ == "__main__":
    main()
