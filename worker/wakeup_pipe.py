"""How does the process that listens to Redis wake the one that runs the jobs? By one byte in a pipe.

A lost byte is harmless, like any lost message: an idle worker asks the database by itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

_BUTTON = "HSU_DOORBELL"
"""Environment variable with the file descriptor to write to."""


class Doorbell:
    """The reading end of the pipe."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` is called by a thread for each byte, or once for several."""
        self._wake = wake
        self._heard, self.button = os.pipe()
        os.set_blocking(self.button, False)
        threading.Thread(target=self._listen, name="doorbell", daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of the process that writes; it inherits `button`."""
        return {_BUTTON: str(self.button)}

    def _listen(self) -> None:
        while os.read(self._heard, 4096):
            self._wake()


def press() -> None:
    """Write one byte, in the process that inherited `button`; in any other process this does nothing."""
    button = os.environ.get(_BUTTON)
    if button is not None:
        with suppress(OSError):  # full: the reader is woken already; broken: the reader has ended
            os.write(int(button), b"\n")
