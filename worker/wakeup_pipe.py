"""How does the process that hears Redis wake the one that runs the jobs? One byte in a pipe.

Losing one is harmless, as with every ring: an idle worker asks the database by itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

_BUTTON = "HSU_DOORBELL"
"""Of the environment: the file descriptor that rings."""


class Doorbell:
    """The end that is heard."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` is called, by a thread, for each ring, or once for several."""
        self._wake = wake
        self._heard, self.button = os.pipe()
        os.set_blocking(self.button, False)
        threading.Thread(target=self._listen, name="doorbell", daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What the process that rings is to find in its environment; it inherits `button`."""
        return {_BUTTON: str(self.button)}

    def _listen(self) -> None:
        while os.read(self._heard, 4096):
            self._wake()


def press() -> None:
    """Ring, in the process that inherited the button; in any other one nothing happens."""
    button = os.environ.get(_BUTTON)
    if button is not None:
        with suppress(OSError):  # full: it rings already; broken: nobody is there any more
            os.write(int(button), b"\n")
