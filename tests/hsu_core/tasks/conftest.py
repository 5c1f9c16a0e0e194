"""Trainings of every task without files: the readers return small data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_worlds import world

from hsu_core import spec
from hsu_core.data import reading


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every data set is small."""

    def load(dataset: spec.Dataset, _folder: Path | None, **_: Any) -> Any:
        return world(dataset)

    monkeypatch.setattr(reading, "load", load)
