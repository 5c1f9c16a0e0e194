"""In which parts is an upload sent, and which of them need not be sent again?

Knows bytes and checksums. Knows no files (`packing`) and no routes (`client`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from hsu_client.packing import Packed

Send = Callable[[int, bytes, str], object]
"""Sends a part: its number, from 1 on, its content, and the SHA-256 of that."""


def send_parts(
    packed: Packed, send: Send, *, size: int, arrived: Mapping[int, str], progress: Callable[[int], object]
) -> None:
    """Send what has not arrived, in parts of `size` bytes; `progress` gets the bytes so far.

    `arrived`: by number, the checksums of the parts that are there.
    """

    def give(number: int, content: bytes) -> None:
        digest = hashlib.sha256(content).hexdigest()
        if arrived.get(number) != digest:
            send(number, content, digest)
        progress((number - 1) * size + len(content))

    parts = Parts(size, give)
    packed.read(parts.take)
    parts.finish()


class Parts:
    """Divides what it is given into parts of one size; `give` gets each with its number, from 1 on."""

    def __init__(self, size: int, give: Callable[[int, bytes], None]) -> None:
        self._size, self._give = size, give
        self._held = bytearray()
        self._number = 0

    def take(self, content: bytes) -> None:
        """The next bytes."""
        self._held += content
        while len(self._held) >= self._size:
            self._pass_on(self._size)

    def finish(self) -> None:
        """There are no more bytes."""
        if self._held:
            self._pass_on(len(self._held))

    def _pass_on(self, count: int) -> None:
        self._number += 1
        self._give(self._number, bytes(self._held[:count]))
        del self._held[:count]
