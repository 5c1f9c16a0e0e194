"""When is the state of a run saved, and which state is the best so far?

Knows the policy of the spec, a clock and the scores. Knows no tensors: `write` does. A disk that does not take a
checkpoint does not end a run: the previous checkpoint is intact, and the next one may succeed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from hsu_core import spec
from hsu_core.outcomes import Saved
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.checkpoint import Scores

_log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds for which the last state waits for a disk that does not take it."""

Write = Callable[[int, Scores], Saved | None]
"""Saves the state after some updates, if there is a folder for it; OSError if the disk does not take it."""


class Saving:
    """The checkpoints of one run."""

    def __init__(
        self,
        policy: spec.Checkpoint,
        primary: spec.Metric,
        callbacks: Callbacks,
        *,
        write: Write,
        start: int,
        scores: Scores,
    ) -> None:
        self.policy = policy
        self.primary = primary
        self.callbacks = callbacks
        self.write = write
        self.start = start
        self.scores = scores
        """Part of the state: so an interrupted run marks the same best checkpoint as an uninterrupted one."""
        self._tried_at = time.monotonic()

    def note(self, step: int, evaluated: dict[str, float]) -> bool:
        """Note this step's evaluation; returns whether its primary metric is a new best that must be saved."""
        value, best = evaluated[self.primary.name], self.scores.best
        is_better = best is None or (value > best if self.primary.higher_is_better else value < best)
        self.scores = Scores(value, value, step, evaluated) if is_better else self.scores._replace(last=value)
        return is_better and self.policy.keep_best

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint is due by steps or seconds; never at the start, which has one already or no progress."""
        if step == self.start:
            return False
        if self.policy.every is not None and step % self.policy.every == 0:
            return True
        return self.policy.seconds is not None and time.monotonic() - self._tried_at >= self.policy.seconds

    def save_last(self, step: int) -> str | None:
        """As `save`, but with retries: no later checkpoint can replace this one."""
        patience = self.callbacks.save_patience
        deadline = time.monotonic() + (PATIENCE if patience is None else patience)
        while (reason := self.save(step)) and time.monotonic() < deadline:
            time.sleep(1)
        return reason

    def save(self, step: int) -> str | None:
        """Save the state, and report it; if that fails, log a warning and return why."""
        try:
            self.callbacks.before_saving()
            done = self.write(step, self.scores)
        except OSError as error:
            _log.warning("the checkpoint of step %d could not be saved: %s", step, error)
            return str(error)
        finally:
            self._tried_at = time.monotonic()
        if done:
            self.callbacks.saved(done)
        return None
