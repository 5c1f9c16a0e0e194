"""Who watches over a running job? One thread a slot: claim, start a runner, keep the lease, settle what it leaves.

Knows processes, leases and clocks. Knows no tensors: the runner is a fresh process, so its memory and its CUDA context
go with it. A runner is leashed by its standard input: it stops when asked there, and dies when the pipe closes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from sqlalchemy.exc import InterfaceError, OperationalError

from hsu_jobs import database, lifecycle, storage
from hsu_jobs.errors import LeaseLost
from hsu_jobs.lifecycle import Claim
from hsu_jobs.outcomes import Crashed, Released
from hsu_jobs.settings import Settings
from worker.devices import Slot

_log = logging.getLogger(__name__)
_LOG_TAIL = 2000


class Supervisor:
    """The slots of one machine."""

    def __init__(self, settings: Settings, *, name: str, slots: list[Slot]) -> None:
        self._settings = settings
        self._name = name
        self._work = threading.Semaphore(0)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=(slot,), name=f"slot-{index}", daemon=True)
            for index, slot in enumerate(slots)
        ]

    def start(self) -> None:
        """Begin to claim jobs."""
        _log.info("%s serves %d slots", self._name, len(self._threads))
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Say that there may be work; one idle slot looks."""
        self._work.release()

    def stop(self) -> None:
        """Ask the running jobs to stop and wait until they have; what does not stop in time is killed."""
        self._stopping.set()
        for _ in self._threads:
            self.wake()
        for thread in self._threads:
            thread.join()

    def _serve(self, slot: Slot) -> None:
        while not self._stopping.is_set():
            try:
                claim = self._claim(slot)
                if claim:
                    self._run(claim, slot)
                    continue
            except (OperationalError, InterfaceError) as error:
                _log.warning("the database does not answer: %s", error)
            except Exception:
                _log.exception("a slot failed; it goes on")
            # A worker may have gone deaf to Redis: after a while an idle slot looks for itself.
            self._work.acquire(timeout=self._settings.poll.total_seconds())

    def _claim(self, slot: Slot) -> Claim | None:
        with database.transaction() as session:
            return lifecycle.claim(session, worker=self._name, device=slot.device, lease=self._settings.lease)

    def _run(self, claim: Claim, slot: Slot) -> None:
        _log.info("job %d: attempt %d starts on %s", claim.job_id, claim.attempt, slot.device)
        log = storage.log_file(claim.job_id, claim.attempt)
        with _runner(claim, slot, self._settings, log) as process:
            try:
                self._watch(claim, process)
            except LeaseLost:
                _log.warning("job %d: attempt %d is no longer ours; its runner is killed", claim.job_id, claim.attempt)
            finally:
                _kill(process)
        self._settle(claim, process.returncode, log)

    def _watch(self, claim: Claim, process: subprocess.Popen[bytes]) -> None:
        """Keep the lease until the process ends; end it when the lease is lost or the worker stops."""
        renewed = time.monotonic()
        while process.poll() is None:
            if self._stopping.is_set():
                _ask_to_stop(process, patience=self._settings.shutdown.total_seconds())
                return
            if time.monotonic() - renewed < self._settings.heartbeat.total_seconds():
                time.sleep(0.05)
                continue
            asked = time.monotonic()
            if self._renew(claim):
                renewed = asked
            elif time.monotonic() - renewed > self._settings.lease.total_seconds() * 0.8:
                _log.warning("job %d: the lease cannot be renewed; its runner is killed", claim.job_id)
                return
            else:
                time.sleep(0.5)

    def _renew(self, claim: Claim) -> bool:
        """Whether the lease was renewed; not if the database is away. Raises `LeaseLost`."""
        try:
            with database.transaction() as session:
                lifecycle.renew(session, claim.token, lease=self._settings.lease)
        except (OperationalError, InterfaceError):
            return False
        return True

    def _settle(self, claim: Claim, status: int, log: Path) -> None:
        """Speak for a runner that died without a word; one that settled by itself is not overruled."""
        crashed = Crashed(message=f"the runner ended with {_reason(status)}\n{_tail(log)}".strip())
        with contextlib.suppress(LeaseLost), database.transaction() as session:
            lifecycle.settle(session, claim.token, Released() if self._stopping.is_set() else crashed)
            _log.warning("job %d: attempt %d: %s", claim.job_id, claim.attempt, crashed.message)


def _runner(claim: Claim, slot: Slot, settings: Settings, log: Path) -> subprocess.Popen[bytes]:
    """A fresh process in a session of its own, told its token over the pipe that is also its leash."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker.runner"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=settings.environment() | {"CUDA_VISIBLE_DEVICES": slot.visible},
            start_new_session=True,
        )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"token": str(claim.token)}).encode() + b"\n")
    process.stdin.flush()
    return process


def _ask_to_stop(process: subprocess.Popen[bytes], *, patience: float) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(b"stop\n")
        process.stdin.flush()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=patience)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the runner and whatever it started: they share its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _reason(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    if -status == signal.SIGKILL:
        return "SIGKILL: killed, perhaps for want of memory"
    return signal.Signals(-status).name


def _tail(log: Path) -> str:
    text = log.read_bytes()[-_LOG_TAIL:].decode(errors="replace")
    return text[text.find("\n") + 1 :] if len(text) == _LOG_TAIL else text
