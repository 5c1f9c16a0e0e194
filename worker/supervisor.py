"""Who watches over a machine's jobs? One thread that looks for work, and one for each attempt.

Knows processes, leases and clocks. Knows no tensors: the runner is a process of its own, so its memory and its CUDA
context end with it.
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
from worker.readiness import ReadinessCheck

_log = logging.getLogger(__name__)
_TO_SETTLE = 10.0
"""Seconds beyond `shutdown` that a stopping worker has to settle its attempts."""
_TO_EXIT = 3.0
"""Seconds that a runner has to exit after it has settled."""
_AGAIN = 1.0
"""Seconds until settling an attempt is tried again while the database is away."""
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
        """When a stopping worker ends all attempts that are not settled, on the monotonic clock."""
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
            _log.warning("this worker joins when the database answers: %s", error)
        _log.info("%s serves %s", self._name, ", ".join(self._devices.names))
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Report that there may be work."""
        self._wake.set()

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop, or has stopped."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Ask the running jobs to stop and wait for them; a job that does not stop in time is killed."""
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
            _keep_on(self._claim_all, "claiming jobs")
            # Messages from Redis may be lost: the worker also looks by itself at intervals.
            self._wake.wait(self._settings.poll.total_seconds())

    def _claim_all(self) -> None:
        """Claim and start jobs as long as there are free slots and work."""
        self._spare.prepare()
        ready = self._readiness.look()
        if not self._report():
            return
        with database.transaction() as session:
            workers.note_readiness(session, self._name, **ready._asdict())
        while not self._stopping.is_set():
            claim = self._claim()
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
        """Report that this worker is there, and note whether the database answered; returns whether it has its name."""
        with self._reporting:  # both the claiming and the sweeping thread report
            try:
                is_ours = self._membership.report()
            except AWAY:
                self._uptime.note_refusal()
                raise
            self._uptime.note_answer()
            return is_ours

    def _claim(self) -> Claim | None:
        with self._lock:
            free = self._devices.free()
        ready = self._readiness.look()  # after the devices: what an attempt lacked is known before its device is free
        if ready.lacks or not free:
            return None
        room = Room(
            self._name,
            self._settings.pool,
            free,
            len(self._devices.names),
            identity=self._membership.identity,
            datasets=ready.datasets,
            plugins=tuple(ready.plugins),
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
        """Return when the runner has ended, or must be ended."""
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
        """Settle, repeated while the database is away; a stopping worker tries only until its own end."""
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
        """Settle for a runner that ended without settling; an attempt that is settled already stays as it is."""
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
        """Leave a data set that this machine could not read to other machines."""
        with database.transaction() as session:
            if attempts.lacked_dataset(session, claim.token):
                self._readiness.distrust(claim.dataset)

    def _sweep_often(self) -> None:
        while not self._stopping.wait(self._settings.sweep.total_seconds()):
            _keep_on(self._sweep, "the sweep")

    def _audit_often(self) -> None:
        """Runs in its own thread: a storage that hangs must not delay the detection of lost workers."""
        audit = Audit()
        while not self._stopping.wait(self._settings.sweep.total_seconds()):
            _keep_on(lambda: maintenance.look_for_missing_files(audit, self._settings), "the search for missing files")

    def _sweep(self) -> None:
        """End lost or late attempts, make room for jobs of higher priority, clean up. Every worker does this.

        A step that fails does not prevent the others.
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
            return  # no lease could be renewed for a while (record 30)
        lost = _in_transaction(partial(attempts.expire, settings=self._settings))
        if lost:
            _log.warning("the workers of jobs %s are gone; the jobs are queued again or ended", lost)
            self.wake()


def _in_transaction(work: Callable[[Session], _T]) -> _T:
    with database.transaction() as session:
        return work(session)


def _about(claim: Claim) -> About:
    return About(_log, {"job": claim.job_id, "attempt": claim.attempt})


def _keep_on(work: Callable[[], None], name: str) -> None:
    """Call `work`; an error is logged only, since the next call may succeed."""
    try:
        work()
    except AWAY as error:
        _log.warning("%s: the database does not answer: %s", name, error)
    except Exception:
        _log.exception("%s failed; the worker continues and tries again", name)
