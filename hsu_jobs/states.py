"""Which changes of state does a job allow, and which requests in each state?

Knows the states and the moves between them. Knows no rows: `lifecycle.move` is the only writer of a job's state.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    LOST = "lost"
    """A tracked run whose client has been silent for longer than its lease; it may come back."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Wanted(StrEnum):
    """What its owner wants: a separate column, so that a request never races with a change of state."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class Action(StrEnum):
    """What its owner may request."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    PRIORITISE = "prioritise"
    FORK = "fork"
    RETRY = "retry"


class Stop(StrEnum):
    """Why the service itself asks an attempt to stop."""

    PREEMPT = "preempt"
    """A job of higher priority needs the place."""
    DRAIN = "drain"
    """The worker is being drained."""
    DEADLINE = "deadline"
    """The job should have ended by now."""


FIRST = (State.QUEUED, State.RUNNING)
"""The state of a job that is submitted, and that of a tracked run that begins."""

MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.PAUSED, State.FAILED, State.CANCELLED}),
    State.RUNNING: frozenset({State.QUEUED, State.PAUSED, State.LOST, State.SUCCEEDED, State.FAILED, State.CANCELLED}),
    State.PAUSED: frozenset({State.QUEUED, State.RUNNING, State.FAILED, State.CANCELLED}),
    State.LOST: frozenset({State.RUNNING, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

TERMINAL = frozenset(state for state, moves in MOVES.items() if not moves)

_ALIVE = frozenset({Action.CANCEL, Action.PRIORITISE, Action.FORK})
_ENDED = frozenset({Action.RETRY, Action.FORK})


def legal(state: State, wanted: Wanted, *, is_tracked: bool = False) -> frozenset[Action]:
    """What may be requested of a job with these two values. Either may be a text that only a newer version knows.

    Of a tracked run less: it waits for no worker, and only its client can let it go on.
    """
    if state not in MOVES:
        return frozenset()
    if is_tracked:
        return _of_tracked(state, wanted)
    if state in TERMINAL:
        return _ENDED
    match wanted:
        case Wanted.RUN:
            return _ALIVE | {Action.PAUSE}
        case Wanted.PAUSE:  # also while it is still running: the request is withdrawn
            return _ALIVE | {Action.RESUME, Action.PAUSE}
        case _:  # CANCEL, or a value that only a newer version knows: the job can still be cancelled
            return frozenset({Action.CANCEL, Action.FORK})


def _of_tracked(state: State, wanted: Wanted) -> frozenset[Action]:
    if state in TERMINAL:
        return frozenset()
    if state is not State.RUNNING:
        return frozenset({Action.CANCEL})
    return legal(state, wanted) & {Action.CANCEL, Action.PAUSE, Action.RESUME}


def picture() -> str:
    """The moves as a mermaid state diagram, for the docs."""
    starts = [f"    [*] --> {state}" for state in FIRST]
    moves = [f"    {state} --> {to}" for state in State for to in State if to in MOVES[state]]
    ends = [f"    {state} --> [*]" for state in State if state in TERMINAL]
    return "\n".join(["stateDiagram-v2", *starts, *moves, *ends])
