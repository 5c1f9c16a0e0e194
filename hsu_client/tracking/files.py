"""How do the files that a run saves reach the service? A thread sends them in parts, the oldest first.

While the service is away they wait; an upload that was cut off goes on with the parts that have not arrived. A file was
copied before, so the loop may write it again. Knows HTTP and files; the loop calls `run`.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from hsu_client.client import Client
from hsu_client.packing import Packed
from hsu_client.problem import Problem, Unreachable
from hsu_client.tracking.sender import FLUSH, LONGEST_REST, Sender
from hsu_client.upload import send_parts

_log = logging.getLogger(__name__)


class Waiting(NamedTuple):
    """A file that waits to be sent."""

    copy: Path
    name: str
    step: int | None
    keep: int | None


class Uploads:
    """Sends what a run saves, until it is closed."""

    def __init__(self, client: Client, sender: Sender) -> None:
        self._client, self._sender = client, sender
        self._folder = Path(tempfile.mkdtemp(prefix="hsu-run-files-"))
        self._count = 0
        self._waiting: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._deadline = float("inf")
        self._patience = float("inf")
        self._rest = 0.0
        self._thread = threading.Thread(target=self._send_all, name="hsu run files", daemon=True)
        self._thread.start()

    def place(self) -> Path:
        """Where the next file is to be copied to, or written."""
        self._count += 1
        return self._folder / str(self._count)

    def add(self, waiting: Waiting) -> None:
        """Send a file that is at its place."""
        with self._changed:
            self._waiting.append(waiting)
            self._changed.notify_all()

    def flush(self, patience: float) -> bool:
        """Wait until nothing waits, or nothing arrived for so many seconds; returns whether nothing waits."""
        with self._changed:
            self._patience = patience
            self._deadline = time.monotonic() + patience
            while self._waiting and time.monotonic() < self._deadline:
                self._changed.wait(0.1)
            return not self._waiting

    def close(self, patience: float) -> None:
        """Send what waits, as `flush`; what has not arrived then is lost."""
        if not self.flush(patience):
            names = ", ".join(each.name for each in self._waiting)
            _log.error("run %d: the service was not reached; these files are lost: %s", self._sender.run_id, names)
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout=1.0)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _send_all(self) -> None:
        while (oldest := self._next()) is not None:
            if not self._try_to_send(oldest):
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closing, self._rest)
                continue
            oldest.copy.unlink(missing_ok=True)
            with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()

    def _next(self) -> Waiting | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._is_closing)
            return None if self._is_closing else self._waiting[0]

    def _try_to_send(self, file: Waiting) -> bool:
        """Send a file; returns whether it need not be tried again."""
        try:
            self._send(file)
        except Unreachable as error:
            self._note_absence(file, error)
            return False
        except Problem as error:
            return self._is_final(file, error)
        except OSError as error:  # the copy is gone, or the disk is broken
            _log.error("run %d: %s is not saved: %s", self._sender.run_id, file.name, error)
        self._rest = 0.0
        return True

    def _send(self, file: Waiting) -> None:
        packed = Packed(file.copy, None)
        whole = packed.measure()
        declared = {"name": file.name, "bytes": whole.bytes, "sha256": whole.sha256, "step": file.step}
        begun = self._ask("POST", "files", json=declared)
        if begun["state"] == "ready":
            return
        place = f"files/{begun['id']}"

        def send(number: int, content: bytes, sha256: str) -> None:
            kind = {"Content-Type": "application/octet-stream"}
            path = f"{place}/parts/{number}"
            self._ask("PUT", path, params={"sha256": sha256}, content=content, headers=kind)
            self._note_progress()

        arrived = {part["number"]: part["sha256"] for part in begun["arrived"]}
        send_parts(packed, send, size=begun["part_bytes"], arrived=arrived, progress=lambda _done: None)
        self._ask("POST", f"{place}/complete", params={"keep": file.keep} if file.keep else {})
        self._note_progress()

    def _ask(self, method: str, path: str, *, headers: dict[str, str] | None = None, **request: Any) -> dict[str, Any]:
        mine = {**self._sender.token_header, **(headers or {})}
        return self._client.send_run(method, f"{self._sender.run_path}/{path}", headers=mine, **request)

    def _is_final(self, file: Waiting, error: Problem) -> bool:
        """Whether a refusal stays one: not while the service is busy, or until the sender has come back to its run."""
        is_busy = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR or error.status == HTTPStatus.TOO_MANY_REQUESTS
        if is_busy or (error.code == "attempt_ended" and self._sender.refused is None):
            self._note_absence(file, error)
            return False
        _log.error("run %d: %s is not saved: %s", self._sender.run_id, file.name, error)
        return True

    def _note_progress(self) -> None:
        self._rest = 0.0
        with self._changed:
            self._deadline = time.monotonic() + self._patience

    def _note_absence(self, file: Waiting, error: Exception) -> None:
        if not self._rest:
            _log.warning("run %d: %s waits: %s", self._sender.run_id, file.name, error)
        self._rest = min(LONGEST_REST, max(FLUSH, 2 * self._rest))


def found(path: Path, name: str | None) -> Iterator[tuple[Path, str]]:
    """The files that a path means, with their names: one, or all of a folder but the hidden ones.

    Raises FileNotFoundError.
    """
    if path.is_file():
        yield path, name or path.name
        return
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: expected a file or a folder to save")
    for each in sorted(path.rglob("*")):
        within = each.relative_to(path)
        if each.is_file() and not any(part.startswith(".") for part in within.parts):
            yield each, f"{name or path.resolve().name}/{within.as_posix()}"
