"""Which webhooks are called at the same time? Owners share the threads; none takes all of them.

Knows threads. `deliveries.claim_next` chooses the next webhook; `worker/webhook_sender.py` sends. A slow receiver
costs one waiting thread, of its own user's share. A message of the broker only wakes the dispatcher, which also looks
every `HSU_POLL`.
"""

from __future__ import annotations

import logging
import threading

from sqlalchemy import exc

from hsu_jobs import database
from hsu_jobs.settings import Settings
from hsu_jobs.webhooks import deliveries
from hsu_jobs.webhooks.deliveries import Batch
from worker import webhook_sender

_log = logging.getLogger(__name__)


class Dispatcher:
    """The threads of one worker that call webhooks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._most = settings.webhook_couriers
        self._most_of_one = min(settings.webhook_couriers_per_user, self._most - 1)
        self._changed = threading.Condition()
        self._is_rung = True
        self._is_stopping = False
        self._under_way = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to call."""
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Check soon whether something is due."""
        with self._changed:
            self._is_rung = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Start no more calls. Those that run have `HSU_SHUTDOWN` to end; then their webhooks are free in a minute."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join()
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way, timeout=self._settings.shutdown.total_seconds())

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                while self._has_room() and self._begin_next():
                    pass
            except exc.SQLAlchemyError as error:
                _log.warning("webhooks are not called until the database answers: %s", error)
            except Exception:  # the next look may succeed
                _log.exception("choosing the next webhook failed; it is tried again")
            with self._changed:
                self._changed.wait_for(self._is_to_look, timeout=self._settings.poll.total_seconds())
                self._is_rung = False

    def _is_to_look(self) -> bool:
        return self._is_rung or self._is_stopping

    def _has_room(self) -> bool:
        with self._changed:
            return self._under_way < self._most and not self._is_stopping

    def _begin_next(self) -> bool:
        """Start to send to the next webhook; returns whether there is one."""
        with database.transaction() as session:
            batch = deliveries.claim_next(session, most_of_one=self._most_of_one)
        if batch is None:
            return False
        with self._changed:
            self._under_way += 1
        threading.Thread(target=self._deliver, args=(batch,), name=f"webhook-{batch.webhook_id}", daemon=True).start()
        return True

    def _deliver(self, batch: Batch) -> None:
        try:
            webhook_sender.deliver(batch, self._settings)
        except exc.SQLAlchemyError as error:
            _log.warning("webhook %d waits for the database: %s", batch.webhook_id, error)
        except Exception:
            _log.exception("webhook %d could not be called", batch.webhook_id)
        finally:
            with self._changed:
                self._under_way -= 1
                self._is_rung = True
                self._changed.notify_all()
