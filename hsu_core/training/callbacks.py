"""What does a training report to its caller, and what does it ask? One frozen value, passed on unchanged.

Knows points of curves and saved states. Knows no tensors (importing it costs no torch). Each has a default that does
nothing, so a notebook names only what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hsu_core.outcomes import Reference, Saved, Series


def _ignore(*_: object) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Callbacks:
    """How a caller follows a training, stops it, and keeps its states."""

    describe: Callable[[Mapping[Series, Reference]], None] = _ignore
    """Gets the references of every layer's measures, once, before the first point."""
    skipped: Callable[[Mapping[str, str]], None] = _ignore
    """Gets the layers that the regularizer leaves out, and the examples that the task does, each with the reason, once,
    before the first point; only if there are any."""
    report: Callable[[int, Mapping[Series, float]], None] = _ignore
    """Gets all values of a step in one call."""
    should_stop: Callable[[], bool] = _never
    """Is asked before every update."""
    checkpoint_dir: Path | None = None
    """Where states are saved; without it no state is saved."""
    before_saving: Callable[[], object] = _ignore
    """Is called before a state is written; may raise OSError while the place is away."""
    saved: Callable[[Saved], None] = _ignore
    """Gets each state once its file is durable."""
    save_patience: float | None = None
    """Seconds for which the last state waits for a disk that does not take it; by default `saving.PATIENCE`."""


SILENT = Callbacks()
"""Nothing is reported and nothing is saved."""
