"""When does a server's process collect garbage? Seldom, and never over what it made at its start.

A full collection walks every object while all requests of the process wait.
"""

from __future__ import annotations

import gc
import multiprocessing

YOUNG, MIDDLE, OLD = 50_000, 20, 100
"""Thresholds of the three generations, for objects that are made while requests are answered."""


def keep_short() -> None:
    """Leave what exists now out of all later collections; do nothing in a process that also does other things."""
    if multiprocessing.parent_process() is None:
        return
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
