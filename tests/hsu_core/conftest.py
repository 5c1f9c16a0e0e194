"""How the laws are tried, and trainings of every task without files: the readers return small data.

The same generated points on every run, without a clock, as the first call loads torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from small_worlds import world

from hsu_core import spec
from hsu_core.data import reading

settings.register_profile("laws", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("laws")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every data set is small."""

    def load(dataset: spec.Dataset, _folder: Path | None, **_: Any) -> Any:
        return world(dataset)

    monkeypatch.setattr(reading, "load", load)
