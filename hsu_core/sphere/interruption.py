"""How is a search interrupted? Inner loops call `breathe`, which raises once the caller asks the search to stop.

A context variable holds `should_stop`. Otherwise a dozen functions between the caller and the inner loops would have to
pass it on. `Interrupted` never leaves the package: `optimize` returns a `Stopped` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Interrupted(Exception):
    """The caller has asked the search to stop."""


def never() -> bool:
    """The default `should_stop`: never stop."""
    return False


_should_stop: ContextVar[Callable[[], bool]] = ContextVar("should_stop", default=never)


@contextmanager
def interruptible(should_stop: Callable[[], bool]) -> Iterator[None]:
    """Inside, `breathe` raises `Interrupted` once `should_stop` returns True."""
    token = _should_stop.set(should_stop)
    try:
        yield
    finally:
        _should_stop.reset(token)


def breathe() -> None:
    """Check for a request to stop; call this at least every second or two."""
    if _should_stop.get()():
        raise Interrupted
