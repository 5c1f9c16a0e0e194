"""Who watches over a machine's jobs? One thread that looks for work, and one for each attempt.

Knows processes, leases and clocks. Knows no tensors: the runner is a process of its own, so its memory and its CUDA
context go with it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from hsu_jobs import attempts, database, lifecycle, row_failures, scheduling
from hsu_jobs.attempts import Claim
from hsu_jobs.errors import LeaseLost, NameTaken
from hsu_jobs.log_lines import About
from hsu_jobs.outcomes import Crashed, Lost, Stalled
from hsu_jobs.scheduling import Room
from hsu_jobs.settings import Settings
from worker import courier, upkeep
from worker.claims import Claims
from worker.devices import Devices, visibility
from worker.lease import Lease
from worker.membership import Membership
from worker.runners import Runner, Spare

_log = logging.getLogger(__name__)
_TO_SETTLE = 10.0
"""Seconds beyond `shutdown` that a stopping worker gives itself to settle what it ran."""
_TO_EXIT = 3.0
"""Seconds from a runner's settling to its exit."""
_AWAY = (OperationalError, InterfaceError)
_T = TypeVar("_T")


class Supervisor:
    """The attempts of one machine."""

    def __init__(self, settings: Settings, *, name: str, devices: Devices) -> None:
        self._settings = settings
        self._name = name
        self._devices = devices
        self._spare = Spare(settings)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._running: set[threading.Thread] = set()
        self._membership = Membership(settings, name=name, devices=devices)
        self._claims = Claims(settings)
        self._threads = [
            threading.Thread(target=self._serve, name="claims", daemon=True),
            threading.Thread(target=self._sweep_often, name="sweeps", daemon=True),
        ]

    def start(self) -> None:
        """Begin to claim jobs. Raises `NameTaken` if another live process is the worker of this name."""
        try:
            self._membership.join_at_start()
        except NameTaken:
            raise
        except Exception as error:
            _log.warning("it joins once the database answers: %s", error)
        _log.info("%s serves %s", self._name, ", ".join(self._devices.names))
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Say that there may be work."""
        self._wake.set()

    def stop(self) -> None:
        """Ask the running jobs to stop and wait until they have; what does not stop in time is killed."""
        self._stopping.set()
        self.wake()
        deadline = time.monotonic() + self._settings.shutdown.total_seconds() + _TO_SETTLE
        for threads in (self._threads, self._running):
            for thread in list(threads):
                if thread.is_alive():
                    thread.join(max(0.0, deadline - time.monotonic()))
        self._membership.leave()
        self._spare.put_away()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            _keep_on(self._claim_all)
            # A worker may have gone deaf to Redis: after a while it looks for itself.
            self._wake.wait(self._settings.poll.total_seconds())

    def _claim_all(self) -> None:
        """Claim and start as long as there is room and work."""
        self._spare.prepare()
        if not self._membership.report():
            return
        while not self._stopping.is_set():
            asked = time.monotonic()
            claim = self._claim()
            if claim is None:
                return
            with self._lock:
                self._devices.take(claim.devices)
            lease = Lease(claim.token, self._settings, since=asked)
            work = (claim, lease, self._spare.take())
            thread = threading.Thread(target=self._run, args=work, name=f"job-{claim.job_id}", daemon=True)
            self._running.add(thread)
            thread.start()

    def _claim(self) -> Claim | None:
        with self._lock:
            free = self._devices.free()
        if not free:
            return None
        room = Room(self._name, self._settings.pool, free, len(self._devices.names), self._membership.identity)
        return self._claims.next(room)

    def _run(self, claim: Claim, lease: Lease, runner: Runner) -> None:
        log = _about(claim)
        log.info("it starts on %s", ", ".join(claim.devices))
        try:
            with lease:
                try:
                    runner.assign(claim.token, visible=visibility(claim.devices))
                    self._watch(claim, lease, runner)
                finally:
                    runner.kill()
                self._speak_for(claim, lease, words=runner.last_words())
        except Exception:
            log.exception("its lease will run out")
        finally:
            with self._lock:
                self._devices.give_back(claim.devices)
            self._running.discard(threading.current_thread())
            self.wake()

    def _watch(self, claim: Claim, lease: Lease, runner: Runner) -> None:
        """Return when the runner has ended, or has to be."""
        while runner.is_alive:
            if not lease.is_ours:
                if lease.is_over and runner.wait(_TO_EXIT):
                    return  # it had just settled
                _about(claim).warning("the lease is not certain any more; its runner is killed")
                return
            if lease.idle.total_seconds() > claim.limits.stall:
                return
            if self._stopping.is_set() or lease.wish.is_to_stop:
                runner.ask_to_stop()
                runner.wait(self._settings.shutdown.total_seconds())
                return
            time.sleep(0.05)

    def _speak_for(self, claim: Claim, lease: Lease, *, words: str) -> None:
        """Settle for a runner that ended without a word; one that settled by itself is not overruled."""
        with contextlib.suppress(LeaseLost), database.transaction() as session:
            if self._stopping.is_set() or lease.wish.is_to_stop:
                attempts.release(session, claim.token, self._settings)
            elif lease.idle.total_seconds() > claim.limits.stall:
                message = f"no further step within {claim.limits.stall:g} s (limits.stall)\n{words}"
                attempts.settle(session, claim.token, Stalled(message=message), self._settings)
            elif not lease.is_ours:
                attempts.settle(session, claim.token, Lost(), self._settings)  # as whoever finds it expired would say
            else:
                attempts.settle(session, claim.token, Crashed(message=words), self._settings)
            _about(claim).warning("%s", words)

    def _sweep_often(self) -> None:
        while not self._stopping.wait(self._settings.sweep.total_seconds()):
            _keep_on(self._sweep)

    def _sweep(self) -> None:
        """End what is lost or late, make room for what matters more, tidy up. Every worker does.

        A step that fails keeps no other from being done.
        """
        steps: dict[str, Callable[[], object]] = {
            "expired leases": self._expire,
            "deadlines": partial(_in_transaction, lifecycle.expire_overdue),
            "making room": partial(_in_transaction, partial(scheduling.make_room, settings=self._settings)),
            "webhooks": courier.ring_round,
            "upkeep": partial(upkeep.tend, self._settings),
        }
        for name, step in steps.items():
            with row_failures.alone("sweeps", name):
                step()

    def _expire(self) -> None:
        lost = _in_transaction(partial(attempts.expire, settings=self._settings))
        if lost:
            _log.warning("lost the workers of jobs %s", lost)
            self.wake()


def _in_transaction(work: Callable[[Session], _T]) -> _T:
    with database.transaction() as session:
        return work(session)


def _about(claim: Claim) -> About:
    return About(_log, {"job": claim.job_id, "attempt": claim.attempt})


def _keep_on(work: Callable[[], None]) -> None:
    """Do it; whatever goes wrong, the next time may go better."""
    try:
        work()
    except _AWAY as error:
        _log.warning("the database does not answer: %s", error)
    except Exception:
        _log.exception("it goes on")
