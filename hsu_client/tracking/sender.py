"""How do points reach the service, in order and each once? A thread sends numbered batches, and keeps the lease.

While the service is away, batches wait in a spool. A run whose lease ran out meanwhile, because a laptop slept or the
network was cut, is come back to, and its batches go on where the service has them. Knows HTTP and batches; the loop
calls `run`.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from hsu_client.client import Client
from hsu_client.problem import Problem, Unreachable
from hsu_client.tracking.columns import Point, encode
from hsu_client.tracking.spool import Spool

_log = logging.getLogger(__name__)

MOST_VALUES = 50_000
"""Values of a batch: 400 kB, less than half of the largest body."""
FLUSH = 1.0
"""Seconds between two looks for new points."""
LONGEST_REST = 30.0
"""Seconds between two attempts to reach a service that is away."""
_PART = 64 * 1024
"""Characters of the log that are sent together: each may take 4 bytes in UTF-8, and 12 in JSON."""


class Sender:
    """Sends what a run logs, until it is closed."""

    def __init__(self, client: Client, *, points: deque[Point], name: str) -> None:
        self._client = client
        self._points = points
        self._name = name
        self._token = str(uuid.uuid4())
        self._run: dict[str, Any] = {}
        self._host = ""
        self._spool = Spool()
        self._next = 1
        """The number of the oldest batch that waits."""
        self._lines: deque[str] = deque()
        self._unsent, self._printed = "", 0
        self._heard = time.monotonic()
        self._rest = 0.0
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._send_often, name=f"hsu run {name}", daemon=True)
        self.wanted = "run"
        """What the owner wants: `run`, `pause` or `cancel`; or why the service wants the loop to stop."""
        self.first_step = 0
        """The step from which the loop goes on."""
        self.run_path = ""
        """Where the run is, once it has begun."""
        self.refused: str | None = None
        """Why the service takes nothing more of this run; None while it does."""

    @property
    def run_id(self) -> int:
        """The run's id."""
        return int(self._run["id"])

    def begin(self, asked: Mapping[str, Any], *, resume: int | None, step: int | None) -> None:
        """Begin the run, or come back to one. Raises `Problem` and `Unreachable`."""
        self._host = str(asked.get("host", ""))
        path = "/v1/runs" if resume is None else f"/v1/runs/{resume}/return"
        self._hear(self._client.send_run("POST", path, json={"token": self._token, **asked} | _given(step=step)))
        self.first_step = int(self._run["step"])
        self.run_path = f"/v1/runs/{self._run['id']}"
        self._thread.start()

    def print_text(self, text: str) -> None:
        """Take what the loop printed."""
        self._lines.append(text)

    def close(self, end: Mapping[str, Any], *, patience: float) -> None:
        """Send all that waits, then how the loop ended; waits for the service so many seconds at most."""
        self._deadline = time.monotonic() + patience
        self._end = end
        self._closing.set()
        self._thread.join()
        self._spool.close()

    def _send_often(self) -> None:
        while not self._closing.wait(max(FLUSH, self._rest)):
            self._try_to_send()
        while self.refused is None and not (self._try_to_send() and self._has_ended()):
            if time.monotonic() > self._deadline:
                _log.error("run %d: the service was not reached; what was logged last is lost", self.run_id)
                return
            time.sleep(min(0.5, max(0.05, self._rest)))

    def _try_to_send(self) -> bool:
        """Send what waits; returns whether nothing is left."""
        self._collect()
        if self.refused is not None:
            return True
        try:
            self._send()
        except Unreachable as error:
            self._note_absence(error)
            return False
        except Problem as error:
            self._note(error)
            return False
        self._rest = 0.0
        return not self._points and self._spool.first() is None

    def _collect(self) -> None:
        """Make batches of the points that were logged since."""
        while self._points:
            points, values = [], 0
            while self._points and values < MOST_VALUES:
                points.append(self._points.popleft())
                values += len(points[-1].values)
            batch, left_out = encode(points)
            self._note_left_out(left_out)
            self._spool.append(batch)

    def _send(self) -> None:
        while (batch := self._spool.first()) is not None:
            now = self._client.send_run("PUT", f"{self.run_path}/batches/{self._next}", **self._bytes(batch))
            self._hear(now)
            self._note_left_out(now["left_out"])
            self._drop_first()
        self._send_lines()
        if time.monotonic() - self._heard > self._run["lease"] / 4:
            self._hear(self._client.send_run("POST", f"{self.run_path}/heartbeat", headers=self.token_header))

    def _send_lines(self) -> None:
        while self._lines or self._unsent:
            while self._lines and len(self._unsent) < _PART:
                self._unsent += self._lines.popleft()
            part = self._unsent[:_PART]
            body = {"first_byte": self._printed, "text": part}
            self._client.send_run("POST", f"{self.run_path}/log", json=body, headers=self.token_header)
            self._unsent = self._unsent[_PART:]
            self._printed += len(part.encode(errors="replace"))

    def _has_ended(self) -> bool:
        """Tell how the loop ended; returns whether the service knows it."""
        try:
            self._client.send_run("POST", f"{self.run_path}/end", json=dict(self._end), headers=self.token_header)
        except Unreachable as error:
            self._note_absence(error)
            return False
        except Problem as error:
            self._note(error)
            return False
        return True

    def _note_absence(self, error: Exception) -> None:
        if not self._rest:
            _log.warning("run %d: what is logged waits: %s", self.run_id, error)
        self._rest = min(LONGEST_REST, max(FLUSH, 2 * self._rest))

    def _note(self, error: Problem) -> None:
        """Come back if the lease ran out, wait if the service is busy; anything else would be refused again."""
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR or error.status == HTTPStatus.TOO_MANY_REQUESTS:
            self._note_absence(error)
            return
        if error.code == "attempt_ended" and self._came_back():
            return
        self.refused = str(error)
        self.wanted = "cancel"
        _log.error("run %d: the service takes nothing more of it: %s", self.run_id, error)

    def _came_back(self) -> bool:
        token = str(uuid.uuid5(uuid.UUID(self._token), "back"))  # the same one if this request has to be repeated
        asked = {"token": token, "after": self._token, "host": self._host}
        try:
            now = self._client.send_run("POST", f"{self.run_path}/return", json=asked)
        except Unreachable as error:
            self._note_absence(error)
            return True
        except Problem as error:
            if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                return False
            self._note_absence(error)
            return True  # which is not known: it is tried again
        self._token = token
        self._printed = 0  # the log is the attempt's
        self._hear(now)
        while self._next <= now["applied"]:
            self._drop_first()
        _log.warning("run %d was lost, and goes on", self.run_id)
        return True

    def _drop_first(self) -> None:
        if self._spool.first() is not None:
            self._spool.drop_first()
        self._next += 1

    def _hear(self, now: dict[str, Any]) -> None:
        self._run = self._run | now
        self._heard = time.monotonic()
        self.wanted = "cancel" if now["stop"] else now["wanted"]

    def _note_left_out(self, values: int) -> None:
        if values:
            _log.warning(
                "run %s: %d values are left out: each curve has one value a step, in ascending steps",
                self._name,
                values,
            )

    @property
    def token_header(self) -> dict[str, str]:
        """What says that a request is this client's."""
        return {"HSU-Token": self._token}

    def _bytes(self, batch: bytes) -> dict[str, Any]:
        return {"content": batch, "headers": self.token_header | {"Content-Type": "application/octet-stream"}}


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
