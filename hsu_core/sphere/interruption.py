"""How is a search called off? Inner loops call `breathe`, which raises once the caller of the search wants no more.

The wish travels in a context variable, as between the caller and the loops that can hear it lie a dozen functions that
would only pass it on. `Interrupted` never leaves the package: `optimize` returns a `Stopped` for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Interrupted(Exception):
    """Nobody waits for the points any more."""


def never() -> bool:
    """The wish of a caller who waits."""
    return False


_should_stop: ContextVar[Callable[[], bool]] = ContextVar("should_stop", default=never)


@contextmanager
def interruptible(should_stop: Callable[[], bool]) -> Iterator[None]:
    """Inside, `breathe` raises `Interrupted` once `should_stop` says so."""
    token = _should_stop.set(should_stop)
    try:
        yield
    finally:
        _should_stop.reset(token)


def breathe() -> None:
    """To be called at least every second or two."""
    if _should_stop.get()():
        raise Interrupted
