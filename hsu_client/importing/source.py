"""What is taken of another tool's run? Its curves, its configuration, its tags, its times, and how it ended.

Knows none of the tools. A curve of the service has one value a step, in ascending steps from 0 on: what a tool has
beyond that is left out, and counted.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

LAST_STEP = 2**53 - 1
LONGEST_NAME, LONGEST_TEXT = 200, 500
LONGEST_CONFIG = 60_000
"""Bytes of a configuration as JSON: the service takes a little more."""
MOST_TAGS = 30
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")


class History(NamedTuple):
    """A curve."""

    name: str
    steps: array[int]
    times: array[float]
    """Seconds since the epoch."""
    values: array[float]


class ForeignRun(NamedTuple):
    """A run of another tool."""

    tool: str
    key: str
    """What it is called there, for good: the same run is found again by it."""
    name: str
    how: Literal["finished", "failed", "cancelled", "paused"]
    config: Mapping[str, Any]
    tags: tuple[str, ...]
    environment: Mapping[str, Any]
    began: float | None
    """Seconds since the epoch."""
    ended: float | None
    histories: tuple[History, ...]
    left_out: int
    """Values that a curve of the service cannot have."""
    broken: tuple[str, ...] = ()
    """What of it could not be read: the name of each file or curve, and what was wrong with it."""

    @property
    def values(self) -> int:
        """How many values its curves have."""
        return sum(len(history.values) for history in self.histories)

    @property
    def tag(self) -> str:
        """The tag by which it is found again."""
        return f"imported:{self.tool}:{hashlib.sha256(self.key.encode(errors='replace')).hexdigest()[:32]}"


class Unreadable(NamedTuple):
    """A run that could not be read at all."""

    name: str
    reason: str


Found = Iterator[ForeignRun | Unreadable]
Read = Callable[[], Found]


def history(name: str, points: Iterable[tuple[int, float, float]]) -> tuple[History, int]:
    """A curve of points (step, time, value) in the order in which they were logged, and how many are left out.

    The last value of a step counts, as in the tools themselves.
    """
    at_step: dict[int, tuple[float, float]] = {}
    left_out = 0
    for step, time, value in points:
        if not 0 <= step <= LAST_STEP:
            left_out += 1
            continue
        left_out += step in at_step
        at_step[step] = (max(time, 0.0), value)
    steps = sorted(at_step)
    times = array("d", [at_step[step][0] for step in steps])
    values = array("d", [at_step[step][1] for step in steps])
    return History(plain(name)[:LONGEST_NAME] or "unnamed", array("q", steps), times, values), left_out


def tags(given: Mapping[str, str]) -> tuple[str, ...]:
    """Those of a tool's tags that can be tags of a job, as `name:value`."""
    words = (f"{name}:{value}" if value else name for name, value in given.items())
    return tuple(sorted({word for word in words if _TAG.fullmatch(word)})[:MOST_TAGS])


def config(given: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that the service takes: with shortened texts if it is too large, and at last without the rest."""
    cleaned = {plain(name)[:LONGEST_NAME] or "unnamed": _plain_value(value) for name, value in given.items()}
    taken: dict[str, Any] = {}
    room = LONGEST_CONFIG
    is_large = _bytes(cleaned) > LONGEST_CONFIG
    for name, value in cleaned.items():
        short = value[:LONGEST_TEXT] if is_large and isinstance(value, str) else value
        room -= _bytes({name: short})
        if room < 0 or len(taken) >= 1000:
            break
        taken[name] = short
    return taken


def plain(text: str) -> str:
    """A text that the service can store."""
    return text.replace("\0", "�").encode(errors="replace").decode()


def _plain_value(value: Any) -> Any:
    match value:
        case str():
            return plain(value)
        case bool() | int() | None:
            return value
        case float() if value - value == 0:
            return value
    return plain(str(value))


def _bytes(tree: Any) -> int:
    return len(json.dumps(tree, ensure_ascii=False).encode())
