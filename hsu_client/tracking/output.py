"""How does what the loop prints reach the run's log? Both streams go on to where they went, and are copied."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, redirect_stderr, redirect_stdout
from typing import Any, TextIO


class _Copied:
    """A stream whose text is taken as well."""

    def __init__(self, stream: TextIO, take: Callable[[str], None]) -> None:
        self._stream = stream
        self._take = take

    def write(self, text: str) -> int:
        """Write it, and take it."""
        self._take(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def copied_to(take: Callable[[str], None]) -> AbstractContextManager[Any]:
    """Copy what Python prints while the `with` lasts."""
    stack = ExitStack()
    out: Any = _Copied(sys.stdout, take)
    err: Any = _Copied(sys.stderr, take)
    stack.enter_context(redirect_stdout(out))
    stack.enter_context(redirect_stderr(err))
    return stack
