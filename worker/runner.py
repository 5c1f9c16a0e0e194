"""What happens to one attempt? Load, run, settle: a short transaction, hours with none open, a short transaction.

    python -m worker.runner      reads its token from standard input, then obeys it: `stop` asks it to stop,
                                 and its end means that the supervisor is gone

The only process that loads torch. It exits 0 once the attempt is settled, whatever the outcome.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from uuid import UUID

from sqlalchemy.exc import InterfaceError, OperationalError

from hsu_core.outcomes import Stopped
from hsu_jobs import database, lifecycle, storage
from hsu_jobs.errors import LeaseLost
from hsu_jobs.outcomes import Cancelled, Outcome, Released
from hsu_jobs.settings import Settings, settings
from hsu_jobs.spec import JobSpec, parse
from hsu_jobs.states import Wanted
from worker import work
from worker.reporter import Reporter

_log = logging.getLogger(__name__)


class Leash:
    """Standard input, read by a thread: a wish to stop, or the supervisor's death."""

    def __init__(self) -> None:
        self.token = UUID(json.loads(sys.stdin.readline())["token"])
        self.pulled = threading.Event()
        threading.Thread(target=self._listen, name="leash", daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "stop":
                self.pulled.set()
        os._exit(1)  # nobody renews the lease any more: go before it runs out


def run_attempt(leash: Leash, settings: Settings) -> Outcome | None:
    """Run the attempt that the leash names; returns its outcome, or nothing if it was no longer ours."""
    try:
        with database.transaction() as session:
            job, attempt = lifecycle.held(session, leash.token)
        with Reporter(leash.token, flush_seconds=settings.flush.total_seconds()) as reporter:
            folder = storage.checkpoint_folder(job.id, attempt.number)
            outcome = _run(parse(job.spec), folder, reporter, leash, settings)
        if reporter.lost:
            return None
        _settle(leash.token, outcome)
    except LeaseLost:
        return None
    return outcome


def _run(spec: JobSpec, folder: Path, reporter: Reporter, leash: Leash, settings: Settings) -> Outcome:
    def should_stop() -> bool:
        return leash.pulled.is_set() or reporter.lost or reporter.wanted is Wanted.CANCEL

    done = work.do(
        spec,
        describe=reporter.describe,
        report=reporter.report,
        should_stop=should_stop,
        checkpoint_dir=folder,
        settings=settings,
    )
    if isinstance(done, Stopped):
        return Cancelled() if reporter.wanted is Wanted.CANCEL else Released()
    return done


def _settle(token: UUID, outcome: Outcome) -> None:
    """Settle, as often as it takes while the database is away; the supervisor ends us when the lease does."""
    while True:
        try:
            with database.transaction() as session:
                lifecycle.settle(session, token, outcome)
        except (OperationalError, InterfaceError) as error:
            _log.warning("the database does not answer: %s", error)
            time.sleep(1)
        else:
            return


def main() -> None:
    """Run one attempt."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    outcome = run_attempt(Leash(), settings())
    _log.info("the attempt ended: %s", outcome or "it was no longer ours")


if __name__ == "__main__":
    main()
