"""What does the spec of a plug-in's task derive from? A training of its own, in a module of its own.

Such a module may import the other files of `hsu_core/spec`: their menus are made by the time it is read. The names of
its numbers become fields of results, and what lists sort by, so they are checked.
"""

from __future__ import annotations

import re
from typing import ClassVar

from hsu_core.spec.training import Metric, TrainingSpec

__all__ = ["PluginTask"]

_NUMBER = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TAKEN = frozenset(
    {"device", "learning_rate", "loss", "parameters", "penalty", "plugins", "seconds", "steps_per_second", "task"}
)


class PluginTask(TrainingSpec):
    """A task that trains a network. The builder is its `hsu_core.tasks.Task`."""

    builder: ClassVar[str]
    """`package.module:name` of the class: imported only where torch is."""

    @classmethod
    def check(cls) -> None:
        """Raise ValueError with what the class lacks."""
        if missing := sorted(cls.__abstractmethods__):
            raise ValueError(f"expected the members {', '.join(missing)}, found none")
        for name in ("measured", "evaluated", "primary"):
            if not hasattr(cls, name):
                raise ValueError(f"expected `{name}`, found none")
        numbers = (*cls.measured, *cls.evaluated)
        if wrong := [name for name in numbers if not _NUMBER.fullmatch(name) or name in _TAKEN]:
            raise ValueError(f"expected names of lower-case letters that are not taken, found {', '.join(wrong)}")
        if not isinstance(cls.primary, Metric) or cls.primary.name not in cls.evaluated:
            raise ValueError(f"expected a primary metric among {', '.join(cls.evaluated)}, found {cls.primary}")
        if unknown := sorted(set(cls.selected) - set(cls.evaluated)):
            raise ValueError(f"selected: expected names among {', '.join(cls.evaluated)}, found {', '.join(unknown)}")
