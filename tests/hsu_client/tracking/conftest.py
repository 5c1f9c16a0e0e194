"""A loop of one's own in this process, which tracks its run at the service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hsu_client.tracking import Run, sender, track


@pytest.fixture
def tracked(served: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Begins a run that flushes soon."""
    monkeypatch.setattr(sender, "FLUSH", 0.02)

    def begun(name: str = "mine", **asked: Any) -> Run:
        return track(name, **{"url": served.url, "key": served.key, "without": ("packages", "gpus")} | asked)

    return begun
