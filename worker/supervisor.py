"""Who watches over a machine's jobs? One thread that looks for work, and one for each attempt.

Knows processes, leases and clocks. Knows no tensors: the runner is a process of its own, so its memory and its CUDA
context go with it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from sqlalchemy.orm import Session

from hsu_jobs import attempts, database, lifecycle, row_failures
from hsu_jobs.artifacts.missing_checkpoints import Audit
from hsu_jobs.attempts import Claim
from hsu_jobs.cluster import claiming, workers
from hsu_jobs.cluster.claiming import Room
from hsu_jobs.database_outage import AWAY, Uptime
from hsu_jobs.errors import LeaseLost, NameTaken
from hsu_jobs.log_format import About
from hsu_jobs.outcomes import Stalled
from hsu_jobs.settings import Settings
from worker import cores, maintenance
from worker.claiming import Claims
from worker.devices import Devices, visibility
from worker.lease import Lease
from worker.membership import Membership
from worker.processes import Runner, Spare
from worker.readiness import Readiness, ReadinessCheck

_log = logging.getLogger(__name__)
_TO_SETTLE = 10.0
"""Seconds beyond `shutdown` that a stopping worker gives itself to settle what it ran."""
_TO_EXIT = 3.0
"""Seconds from a runner's settling to its exit."""
_AGAIN = 1.0
"""Seconds until a database that is away is asked again to settle an attempt."""
_T = TypeVar("_T")


class Supervisor:
    """The attempts of one machine."""

    def __init__(self, settings: Settings, *, name: str, devices: Devices) -> None:
        self._settings = settings
        self._name = name
        self._devices = devices
        self._spare = Spare(settings, cores.environment(devices.slots))
        self._readiness = ReadinessCheck(settings)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._gives_up_at = math.inf
        """When a stopping worker ends whatever is not settled, on the monotonic clock."""
        self._lock = threading.Lock()
        self._reporting = threading.Lock()
        self._running: set[threading.Thread] = set()
        self._membership = Membership(settings, name=name, devices=devices)
        self._claims = Claims(settings)
        self._uptime = Uptime(longest_gap=max(settings.lease, 3 * settings.sweep))
        self._threads = [
            threading.Thread(target=self._serve, name="claims", daemon=True),
            threading.Thread(target=self._sweep_often, name="sweeps", daemon=True),
            threading.Thread(target=self._audit_often, name="audits", daemon=True),
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
        self._gives_up_at = time.monotonic() + self._settings.shutdown.total_seconds() + _TO_SETTLE
        for threads in (self._threads, self._running):
            for thread in list(threads):
                if thread.is_alive():
                    thread.join(max(0.0, self._gives_up_at - time.monotonic()))
        if self._reporting.acquire(timeout=max(0.0, self._gives_up_at - time.monotonic())):
            self._membership.leave()
            self._reporting.release()
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
        ready = self._readiness.look()
        if not self._report():
            return
        with database.transaction() as session:
            workers.note_readiness(session, self._name, datasets=ready.datasets, lacks=ready.lacks)
        while not (ready.lacks or self._stopping.is_set()):
            claim = self._claim(ready)
            if claim is None:
                return
            with self._lock:
                self._devices.take(claim.devices)
            lease = Lease(claim.token, self._settings)
            work = (claim, lease, self._spare.take())
            thread = threading.Thread(target=self._run, args=work, name=f"job-{claim.job_id}", daemon=True)
            self._running.add(thread)
            thread.start()

    def _report(self) -> bool:
        """Tell that this worker is there, and note whether the database took it; whether its name is still its own."""
        with self._reporting:  # whoever claims and whoever sweeps
            try:
                is_ours = self._membership.report()
            except AWAY:
                self._uptime.note_refusal()
                raise
            self._uptime.note_answer()
            return is_ours

    def _claim(self, ready: Readiness) -> Claim | None:
        with self._lock:
            free = self._devices.free()
        if not free:
            return None
        room = Room(
            self._name,
            self._settings.pool,
            free,
            len(self._devices.names),
            identity=self._membership.identity,
            datasets=ready.datasets,
        )
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
                self._settle(claim, lease, runner)
                self._learn_from(claim)
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
            if lease.is_over:
                if not runner.wait(_TO_EXIT):  # else it had just settled
                    _about(claim).warning("the attempt is not ours any more; its runner is killed")
                return
            if lease.idle.total_seconds() > claim.limits.stall:
                return
            if self._stopping.is_set() or lease.desired.asks_to_stop:
                runner.ask_to_stop()
                runner.wait(self._settings.shutdown.total_seconds())
                return
            time.sleep(0.05)

    def _settle(self, claim: Claim, lease: Lease, runner: Runner) -> None:
        """Settle, as often as it takes while the database is away; a worker that stops tries only until its end."""
        words = runner.last_words()
        while not lease.is_over:
            try:
                self._speak_for(claim, lease, runner, words=words)
            except AWAY as error:
                if time.monotonic() + _AGAIN > self._gives_up_at:
                    raise
                _about(claim).warning("its end waits, the database is away: %s", error)
                time.sleep(_AGAIN)
            else:
                return

    def _speak_for(self, claim: Claim, lease: Lease, runner: Runner, *, words: str) -> None:
        """Settle for a runner that ended without a word; one that settled by itself is not overruled."""
        with contextlib.suppress(LeaseLost), database.transaction() as session:
            if self._stopping.is_set() or lease.desired.asks_to_stop:
                attempts.release(session, claim.token, self._settings)
            elif lease.idle.total_seconds() > claim.limits.stall:
                message = f"no further step within {claim.limits.stall:g} s (limits.stall)\n{words}"
                attempts.settle(session, claim.token, Stalled(message=message), self._settings)
            else:
                attempts.settle(session, claim.token, runner.outcome(words), self._settings)
            _about(claim).warning("%s", words)

    def _learn_from(self, claim: Claim) -> None:
        """Leave a data set that this machine could not read to others."""
        with database.transaction() as session:
            if attempts.lacked_dataset(session, claim.token):
                self._readiness.distrust(claim.dataset)

    def _sweep_often(self) -> None:
        while not self._stopping.wait(self._settings.sweep.total_seconds()):
            _keep_on(self._sweep)

    def _audit_often(self) -> None:
        """A thread of its own: a storage that hangs must not keep anybody from noticing a lost worker."""
        audit = Audit()
        while not self._stopping.wait(self._settings.sweep.total_seconds()):
            _keep_on(lambda: maintenance.look_for_missing_files(audit, self._settings))

    def _sweep(self) -> None:
        """End what is lost or late, make room for what matters more, tidy up. Every worker does.

        A step that fails keeps no other from being done.
        """
        self._report()
        steps: dict[str, Callable[[], object]] = {
            "expired leases": self._expire,
            "deadlines": partial(_in_transaction, lifecycle.expire_overdue),
            "making room": partial(_in_transaction, partial(claiming.make_room, settings=self._settings)),
            "upkeep": partial(maintenance.run, self._settings),
        }
        for name, step in steps.items():
            with row_failures.alone("sweeps", name):
                step()

    def _expire(self) -> None:
        if self._uptime.length < self._settings.lease:
            return  # nobody could renew a lease for a while (record 30)
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
    except AWAY as error:
        _log.warning("the database does not answer: %s", error)
    except Exception:
        _log.exception("it goes on")
