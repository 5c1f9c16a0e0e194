"""What does a process say of plug-ins when it starts? Which it has, and which it cannot use."""

from __future__ import annotations

import logging

from hsu_core.spec import plugins


def report(log: logging.Logger) -> None:
    """A line for all that can be used, and one for each that cannot."""
    if have := plugins.distributions():
        log.info("plug-ins: %s", ", ".join(f"{name} {version}" for name, version in have.items()))
    for broken in plugins.broken():
        log.error("%s", broken)
