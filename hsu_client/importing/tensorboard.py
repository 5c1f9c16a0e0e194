"""How are TensorBoard's event files read? By TensorBoard's own reader; a folder of event files is a run.

Scalars of both forms, and the hyperparameters. Needs the `tensorboard` extra, but neither TensorFlow nor torch.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from google.protobuf.message import DecodeError
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.plugins.scalar.metadata import PLUGIN_NAME as SCALARS
from tensorboard.util.tensor_util import make_ndarray

from hsu_client.importing import source
from hsu_client.importing.source import ForeignRun, Found, Unreadable

EVENTS = "*tfevents*"
_FRAME = struct.Struct("<QI")
"""Before each record: its length, and a checksum of that; behind it four bytes more."""
_BEHIND = 4


def read(folder: Path) -> Found:
    """The runs in a folder and in those below it. Raises ValueError if there is none."""
    files = [folder] if folder.is_file() else sorted(path for path in folder.rglob(EVENTS) if path.is_file())
    if not files:
        raise ValueError(f"{folder}: expected event files, whose names hold `tfevents`")
    for where in sorted({path.parent for path in files}):
        yield _run(folder, where, [path for path in files if path.parent == where])


def _run(top: Path, where: Path, files: Sequence[Path]) -> ForeignRun | Unreadable:
    taken = _Taken()
    for path in files:
        taken.take(path)
    name = where.relative_to(top).as_posix() if where.is_relative_to(top) and where != top else where.resolve().name
    if not taken.points and not taken.config:
        return Unreadable(name, "; ".join(taken.broken) or "no scalars are in it")
    histories = [source.history(tag, points) for tag, points in sorted(taken.points.items())]
    return ForeignRun(
        tool="tensorboard",
        key=f"{where.resolve().name} {files[0].name}",  # the name of an event file holds its time, host and process
        name=source.plain(name),
        how=taken.how,
        config=source.config(taken.config),
        tags=(),
        environment={},
        began=taken.began,
        ended=taken.ended,
        histories=tuple(history for history, _ in histories),
        left_out=sum(left_out for _, left_out in histories),
        broken=tuple(taken.broken),
    )


class _Taken:
    """What was read of a run."""

    def __init__(self) -> None:
        self.points: dict[str, list[tuple[int, float, float]]] = {}
        self.config: dict[str, Any] = {}
        self.began: float | None = None
        self.ended: float | None = None
        self.how: Literal["finished", "failed"] = "finished"
        self.broken: list[str] = []
        self._scalars: set[str] = set()

    def take(self, path: Path) -> None:
        """Take all that can be read of a file, and note where it is broken."""
        count, whole = _records(path)
        read = 0
        try:
            for event in LegacyEventFileLoader(os.fspath(path)).Load():
                read += 1
                self._take(event)
        except (DecodeError, ValueError, OSError) as error:
            self.broken.append(f"{path}: record {read + 1} is damaged ({error}); what follows is left out")
            return
        if read < count or not whole:
            self.broken.append(f"{path}: it is cut off or damaged after {read} records; these are taken")

    def _take(self, event: Event) -> None:
        at = event.wall_time
        self.began = at if self.began is None else min(self.began, at)
        self.ended = at if self.ended is None else max(self.ended, at)
        for value in event.summary.value:
            plugin = value.metadata.plugin_data
            if plugin.plugin_name == hparams.PLUGIN_NAME:
                self._take_hyperparameters(HParamsPluginData.FromString(plugin.content))
            if plugin.plugin_name == SCALARS:
                self._scalars.add(value.tag)
            if (number := self._number(value)) is not None:
                self.points.setdefault(value.tag, []).append((event.step, at, number))

    def _number(self, value: Summary.Value) -> float | None:
        if value.HasField("simple_value"):
            return float(value.simple_value)
        if value.HasField("tensor") and value.tag in self._scalars:
            return float(make_ndarray(value.tensor).reshape(-1)[0])
        return None

    def _take_hyperparameters(self, told: HParamsPluginData) -> None:
        for name, value in told.session_start_info.hparams.items():
            kind = value.WhichOneof("kind")
            if kind is not None:
                self.config[name] = getattr(value, kind)
        if told.session_end_info.status == STATUS_FAILURE:
            self.how = "failed"


def _records(path: Path) -> tuple[int, bool]:
    """How many whole records a file should have by their lengths, and whether it ends with one.

    TensorBoard's reader ends silently at the first that is damaged.
    """
    size, place, count = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        while place + _FRAME.size <= size:
            file.seek(place)
            length, _ = _FRAME.unpack(file.read(_FRAME.size))
            end = place + _FRAME.size + length + _BEHIND
            if end > size:
                break
            place, count = end, count + 1
    return count, place == size
