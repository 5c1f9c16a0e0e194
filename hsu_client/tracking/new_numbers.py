"""Which of a trainer's numbers has a run not taken yet at this step? Trainers report the same ones again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hsu_client.tracking.run import Run


class NewNumbers:
    """Passes on what a trainer reports: numbers only, each once a step."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._last: dict[str, int] = {}

    def log(self, step: int, reported: Mapping[str, Any]) -> None:
        """Take those that are numbers, or tensors of one number, and of a later step than the curve's last."""
        new = {name: float(value) for name, value in reported.items() if self._is_new(name, value, step)}
        self._run.log_values(step, new)
        self._last |= dict.fromkeys(new, step)

    def _is_new(self, name: str, value: Any, step: int) -> bool:
        is_number = isinstance(value, int | float) or getattr(value, "numel", lambda: 0)() == 1
        return is_number and self._last.get(name, -1) < step
