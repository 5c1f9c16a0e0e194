"""Which moves does a job's life allow?

Knows the states and the moves between them. Knows no rows: `lifecycle.move` is the only writer of a job's state.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Wanted(StrEnum):
    """What its owner wants it to be: a column apart, so that a wish never races with what happens."""

    RUN = "run"
    CANCEL = "cancel"


MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.FAILED, State.CANCELLED}),
    State.RUNNING: frozenset({State.QUEUED, State.SUCCEEDED, State.FAILED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

TERMINAL = frozenset(state for state, moves in MOVES.items() if not moves)


def picture() -> str:
    """The moves as a mermaid state diagram: the picture in the docs."""
    start = f"    [*] --> {State.QUEUED}"
    moves = [f"    {state} --> {to}" for state in State for to in State if to in MOVES[state]]
    ends = [f"    {state} --> [*]" for state in State if state in TERMINAL]
    return "\n".join(["stateDiagram-v2", start, *moves, *ends])
