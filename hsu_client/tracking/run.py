"""What does a training loop of one's own call?

    with hsu_client.track("resnet with mhe", config={"lr": 0.1}) as run:
        for step, batch in enumerate(data):
            ...
            run.log(step, loss=loss, accuracy=accuracy)
            if run.should_stop:
                break

Knows the loop's side: `log` appends to a list, and a thread does the rest (`sender`). Only the process that began the
run logs, and of several ranks only the first: elsewhere every call does nothing.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, SupportsFloat, SupportsIndex

from hsu_client.client import Client
from hsu_client.tracking import energies, environment, files, output, states
from hsu_client.tracking.columns import Name, Point
from hsu_client.tracking.files import Uploads, Waiting
from hsu_client.tracking.sender import Sender

LAST_STEP = 2**53 - 1


def track(
    name: str = "untitled",
    *,
    config: Mapping[str, Any] | None = None,
    tags: Sequence[str] = (),
    resume: int | None = None,
    step: int | Literal["latest"] | None = None,
    url: str | None = None,
    key: str | None = None,
    without: Collection[str] = (),
    log_output: bool = True,
    patience: float = 60.0,
) -> Run:
    """A run of the loop inside `with`. Address and key come from HSU_URL and HSU_API_KEY unless they are given.

    `resume` is the id of a run that is lost or paused; with `step` its curves are rolled back to that step, with
    "latest" to that of its newest saved state, or to the start if it has none. `without`: parts of the environment
    that are not kept, of git, command, packages, host, gpus. `patience`: seconds that the end of the loop waits for a
    service that is away.
    """
    if step is not None and resume is None:
        raise ValueError("`step` says where a run goes on, so it needs `resume`")
    asked = {"name": name, "config": _plain(config or {}), "tags": list(tags)} if resume is None else {}
    return Run(
        asked,
        resume=resume,
        step=step,
        url=url or os.environ.get("HSU_URL", "http://127.0.0.1:8000"),
        key=key or os.environ.get("HSU_API_KEY", ""),
        without=without,
        log_output=log_output,
        patience=patience,
    )


class Run:
    """A tracked run while its loop runs."""

    def __init__(
        self,
        asked: Mapping[str, Any],
        *,
        resume: int | None,
        step: int | Literal["latest"] | None,
        url: str,
        key: str,
        without: Collection[str],
        log_output: bool,
        patience: float,
    ) -> None:
        self._asked, self._resume, self._step = asked, resume, step
        self._url, self._key = url, key
        self._without, self._log_output, self._patience = without, log_output, patience
        self._points: deque[Point] = deque()
        self._names: set[Name] = set()
        self._result: dict[str, float] = {}
        self._sender: Sender | None = None
        self._client: Client | None = None
        self._uploads: Uploads | None = None
        self._pid = 0
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        if os.environ.get("RANK", "0") != "0":
            return self
        with ExitStack() as opened:
            client = opened.enter_context(Client(self._url, self._key))
            self._sender = Sender(client, points=self._points, name=str(self._asked.get("name", self._resume)))
            host = "" if "host" in self._without else platform.node()[:255]
            about = {"host": host, "environment": environment.capture(self._without)}
            self._client = client
            self._sender.begin({**self._asked, **about}, resume=self._resume, step=self._first_step(client))
            if self._log_output:
                opened.enter_context(output.copied_to(self._print))
            self._opened = opened.pop_all()
        self._pid = os.getpid()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_ours:
            return
        assert self._sender is not None
        with self._opened:
            if self._uploads is not None:
                self._uploads.close(self._patience)
            self._sender.close(self._end(error), patience=self._patience)
        self._pid = 0

    @property
    def id(self) -> int | None:
        """The run's id, which is its job's; None in a process that does not log."""
        return self._sender.run_id if self._sender else None

    @property
    def step(self) -> int:
        """The step from which a resumed loop goes on; 0 for a new run."""
        return self._sender.first_step if self._sender else 0

    @property
    def wanted(self) -> str:
        """What the owner wants: `run`, `pause` or `cancel`."""
        return self._sender.wanted if self._sender else "run"

    @property
    def should_stop(self) -> bool:
        """Whether the loop should end: its owner asked for it, or the service takes nothing more of the run."""
        return self.wanted != "run"

    def log(self, step: SupportsIndex, /, **scalars: SupportsFloat) -> None:
        """Take numbers that were measured at a step; it never waits. Steps ascend; a curve has one value a step."""
        self.log_values(step, scalars)

    def log_values(self, step: SupportsIndex, values: Mapping[Any, SupportsFloat]) -> None:
        """Like `log`, for curves whose names are no Python names, or that belong to a layer: `(layer, measure)`."""
        if self._pid != os.getpid():
            return
        number = step.__index__()
        if not 0 <= number <= LAST_STEP:
            raise ValueError(f"a step is a whole number from 0 to {LAST_STEP}, found {number}")
        if not self._names.issuperset(values):
            self._check_names(values)
        if values:
            self._points.append(Point(number, time.time(), {name: float(value) for name, value in values.items()}))

    def measure(self, step: SupportsIndex, model: Any) -> None:
        """Take the energies of every layer of a torch model, as the service's own jobs record them. Needs `hsu_core`.

        They are computed here and now: each layer takes about as long as the Gram matrix of its neurons.
        """
        if self._pid == os.getpid():
            self.log_values(step, energies.panel(model))

    def result(self, **numbers: SupportsFloat) -> None:
        """Take numbers of the whole run, which its job shows when it has ended."""
        self._result |= {name: float(number) for name, number in numbers.items()}

    def save(self, what: Any, *, step: int | None = None, name: str | None = None, keep: int | None = None) -> None:
        """Keep a file, a folder or a state at the service; a thread sends a copy of it.

        A path is a file, or a folder whose files are kept without the hidden ones; `name` is how it is called there. A
        module, or a state as of `state_dict()`, needs the `step` from which the loop goes on with it, and is then a
        checkpoint of the job; `keep`: how many of these stay, the newest. Raises FileNotFoundError for a path,
        TypeError for a state that holds other things than tensors and plain data, ImportError without torch.
        """
        if not self._is_ours:
            return
        assert self._sender is not None
        assert self._client is not None
        self._uploads = self._uploads or Uploads(self._client, self._sender)
        if isinstance(what, str | os.PathLike):
            for path, called in files.found(Path(what), name):
                copy = self._uploads.place()
                shutil.copyfile(path, copy)
                self._uploads.add(Waiting(copy, called, step, keep))
            return
        if step is None:
            raise ValueError("a saved state needs the step from which the loop goes on with it")
        copy = self._uploads.place()
        states.write(what, copy)
        self._uploads.add(Waiting(copy, name or f"step-{step}.safetensors", step, keep))

    def latest(self) -> SavedState | None:
        """The newest state that this run has saved, once all that was saved has arrived; None if there is none."""
        if not self._is_ours or self._client is None:
            return None
        if self._uploads is not None:
            self._uploads.flush(self._patience)
        kept = self._client.checkpoints(self._sender_id)
        return SavedState(self._client, self._sender_id, int(kept[0]["step"])) if kept else None

    @property
    def _sender_id(self) -> int:
        assert self._sender is not None
        return self._sender.run_id

    def _first_step(self, client: Client) -> int | None:
        if self._step != "latest":
            return self._step
        assert self._resume is not None
        return max((int(row["step"]) for row in client.checkpoints(self._resume)), default=0)

    def _check_names(self, values: Mapping[Any, Any]) -> None:
        for name in values:
            parts = (name,) if isinstance(name, str) else name
            if not all(
                part is None or (isinstance(part, str) and 0 < len(part) <= 200 and "\0" not in part) for part in parts
            ):
                raise ValueError(
                    f"a curve's name is a text of 1 to 200 characters, or a layer and a measure, found {name!r}"
                )
        self._names.update(values)

    def _print(self, text: str) -> None:
        if self._pid == os.getpid() and self._sender is not None:
            self._sender.print_text(text)

    @property
    def _is_ours(self) -> bool:
        return self._sender is not None and self._pid == os.getpid()

    def _end(self, error: BaseException | None) -> dict[str, Any]:
        if isinstance(error, SystemExit) and error.code in (None, 0):
            error = None
        if isinstance(error, KeyboardInterrupt | GeneratorExit):
            return {"how": "cancelled"}
        if error is not None:
            message = f"{type(error).__name__}: {error}".replace("\0", "\ufffd")
            return {"how": "failed", "message": message.encode(errors="replace").decode()[:10_000]}
        if self.should_stop:
            return {"how": "paused" if self.wanted == "pause" else "cancelled"}
        return {"how": "finished", "result": {name: _number(value) for name, value in self._result.items()}}


class SavedState(NamedTuple):
    """A state that a run has saved."""

    client: Client
    run_id: int
    step: int
    """The step from which the loop goes on with it."""

    def load(self) -> Any:
        """The state, on the CPU, as it was saved: of a module its state dict. Needs torch and safetensors."""
        with tempfile.TemporaryDirectory(prefix="hsu-") as folder:
            return states.read(self.download(folder))

    def download(self, to: str | Path = ".") -> Path:
        """The file, into a folder or under a name."""
        return self.client.download(self.run_id, to, step=self.step)


def _plain(value: Any) -> Any:
    """A tree that JSON can hold: of other objects their text, of NaN and infinities their names."""
    match value:
        case Mapping():
            return {str(name): _plain(each) for name, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(each) for each in value]
        case None | bool() | int() | str():
            return value
        case float():
            return _number(value)
        case _:
            return str(value)


def _number(value: float) -> float | str:
    if value != value:
        return "NaN"
    return {float("inf"): "Infinity", float("-inf"): "-Infinity"}.get(value, value)
