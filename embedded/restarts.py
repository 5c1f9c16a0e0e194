"""Which of our parts have ended, when is each started again, and when is it given up?

Knows parts by their names. A part that has ended is started again at once, then after longer and longer delays. If one
ends too often, everything ends, with the last lines of that part's log.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from embedded.errors import CannotStart

MOST = 5
"""Ends of one part within `WINDOW` seconds after which it is given up."""
WINDOW = 600.0
REST = 1.0
"""Seconds until the second restart; twice as long before each further one."""


class Part(NamedTuple):
    """An engine or process that must run."""

    name: str
    is_alive: Callable[[], bool]
    start: Callable[[], None]
    """Raises `CannotStart` if it cannot be started."""
    last_words: Callable[[], str]
    """The path and the end of its log."""


@dataclass
class _Life:
    """When a part ended, on the monotonic clock."""

    ends: list[float] = field(default_factory=list)
    starts_at: float | None = None
    """When it is started again; None while it runs."""


class Mender:
    """Keeps parts running."""

    def __init__(self, parts: list[Part], *, say: Callable[[str], None]) -> None:
        """`parts` in the order in which they are started."""
        self._parts = parts
        self._say = say
        self._lives = {part.name: _Life() for part in parts}

    def mend(self) -> None:
        """Start parts that have ended. Raises `CannotStart` where that does not help."""
        for part in self._parts:
            if not part.is_alive():
                self._mend(part, self._lives[part.name])

    def _mend(self, part: Part, life: _Life) -> None:
        now = time.monotonic()
        if life.starts_at is None:
            life.ends = [end for end in life.ends if now - end < WINDOW] + [now]
            if len(life.ends) > MOST:
                minutes = WINDOW / 60
                raise CannotStart(f"{part.name} ended {MOST + 1} times within {minutes:g} minutes; {part.last_words()}")
            rest = REST * 2 ** (len(life.ends) - 2) if len(life.ends) > 1 else 0.0
            life.starts_at = now + rest
            self._say(f"{part.name} ended; it is started again" + (f" in {rest:g} s" if rest else ""))
        if now >= life.starts_at:
            life.starts_at = None
            part.start()
