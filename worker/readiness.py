"""What does this machine lack: can it reach the installation's own storage, and which data sets can it read?

Checked when the worker joins and again before it looks for work. A worker without its storage takes no jobs; jobs whose
data set it cannot read are left to other workers. Damage that shows only on reading is in the attempt's outcome; then
jobs with that data set are left to other machines for a while. Which plug-ins it has is known since the process began.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from hsu_core import spec
from hsu_core.data.files import LAYOUT, UNPUBLISHED, DatasetNotFound, require
from hsu_core.spec import plugins
from hsu_jobs import database
from hsu_jobs.artifacts import installation
from hsu_jobs.artifacts.storage import StorageUnavailable
from hsu_jobs.settings import Settings

_log = logging.getLogger(__name__)

DISTRUST = 600.0
"""Seconds for which a data set that could not be read is left to other machines."""


class Readiness(NamedTuple):
    """Which jobs a machine can take."""

    datasets: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    """Why it takes no jobs now; empty if it does."""
    plugins: Mapping[str, str] = MappingProxyType({})
    """Those that it has, each with its version."""
    broken_plugins: tuple[str, ...] = ()
    """Those that it cannot use, each with its reason."""


class ReadinessCheck:
    """Checks repeatedly, and keeps each result for one poll interval."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seen = Readiness()
        self._seen_at: float | None = None
        self._distrusted: dict[str, float] = {}

    def look(self) -> Readiness:
        """Which jobs the machine can take now; a change is logged. A distrusted data set is missing at once."""
        now = time.monotonic()
        if self._seen_at is None or now - self._seen_at >= self._settings.poll.total_seconds():
            self._see()
        trusted = (kind for kind in self._seen.datasets if self._distrusted.get(kind, now) <= now)
        return self._seen._replace(datasets=tuple(trusted))

    def distrust(self, dataset: str) -> None:
        """Leave jobs with this data set to other machines for a while."""
        _log.warning("%s could not be read here: its jobs are left to other machines for %.0f s", dataset, DISTRUST)
        self._distrusted[dataset] = time.monotonic() + DISTRUST

    def _see(self) -> None:
        readable = (*(kind for kind in LAYOUT if _is_readable(kind, self._settings)), spec.OWN)
        broken = tuple(map(str, plugins.broken()))
        found = Readiness(readable, self._lacking(), plugins.distributions(), broken)
        if self._seen_at is None or found != self._seen:
            _report(found)
        self._seen, self._seen_at = found, time.monotonic()

    def _lacking(self) -> tuple[str, ...]:
        try:
            with database.transaction() as session:
                storage = installation.marked_storage(session, self._settings)
            storage.check()
        except StorageUnavailable as error:
            return (f"artifacts: {error}",)
        return ()


def _is_readable(kind: str, settings: Settings) -> bool:
    try:
        require(_DATASETS[kind](), settings.data_dir)
    except DatasetNotFound:
        return kind not in UNPUBLISHED and settings.allow_download and _can_be_written(settings.data_dir)
    return True


_DATASETS = {each().kind: each for each in spec.members(spec.PublishedDataset)}


def _can_be_written(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _report(found: Readiness) -> None:
    without = [kind for kind in LAYOUT if kind not in found.datasets]
    _log.info(
        "this worker can read %s%s", ", ".join(found.datasets), f"; it lacks {', '.join(without)}" if without else ""
    )
    for lack in found.lacks:
        _log.warning("this worker takes no jobs while it lacks %s", lack)
